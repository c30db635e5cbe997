"""Tasks: what a problem is, how it is put to a model, and how an answer is scored. Imported when first asked for."""

from typing import TYPE_CHECKING

from treereason.lazy import lazy_classes

if TYPE_CHECKING:  # what editors and type checkers know; a new file is found without
    from treereason.tasks.arithmetic import Arithmetic as Arithmetic
    from treereason.tasks.base import BaseTask as BaseTask
    from treereason.tasks.choices import Choices as Choices
    from treereason.tasks.crosswords import Crosswords as Crosswords
    from treereason.tasks.document_merging import DocumentMerging as DocumentMerging
    from treereason.tasks.few_shot import FewShot as FewShot
    from treereason.tasks.game_of_24 import GameOf24 as GameOf24
    from treereason.tasks.keyword_counting import KeywordCounting as KeywordCounting
    from treereason.tasks.prompt_files import Template as Template
    from treereason.tasks.recorded import Recorded as Recorded
    from treereason.tasks.set_intersection import SetIntersection as SetIntersection
    from treereason.tasks.sorting import Sorting as Sorting
    from treereason.tasks.word_problems import WordProblems as WordProblems

_BASE = {"BaseTask": "treereason.tasks.base", "Template": "treereason.tasks.prompt_files"}
__getattr__, __dir__ = lazy_classes(__name__, __path__, _BASE)
