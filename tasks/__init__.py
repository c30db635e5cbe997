"""Tasks: what a problem is, how it is put to a model, and how an answer is scored. Imported when first asked for."""

from typing import TYPE_CHECKING

from treereason.lazy import lazy_names

if TYPE_CHECKING:
    from treereason.tasks.base import BaseTask as BaseTask
    from treereason.tasks.base import Template as Template
    from treereason.tasks.document_merging import DocumentMerging as DocumentMerging
    from treereason.tasks.few_shot import FewShot as FewShot
    from treereason.tasks.recorded import Recorded as Recorded
    from treereason.tasks.sorting import Sorting as Sorting

_MODULES = {
    "BaseTask": "treereason.tasks.base",
    "DocumentMerging": "treereason.tasks.document_merging",
    "FewShot": "treereason.tasks.few_shot",
    "Recorded": "treereason.tasks.recorded",
    "Sorting": "treereason.tasks.sorting",
    "Template": "treereason.tasks.base",
}
__all__ = [*_MODULES]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
