"""Search algorithms: coroutines over the primitives of `core.Tree`. Each is imported when it is first asked for."""

from typing import TYPE_CHECKING

from treereason.lazy import lazy_names

if TYPE_CHECKING:
    from treereason.search.best_of_n import BestOfN as BestOfN
    from treereason.search.recorded import Recorded as Recorded
    from treereason.search.self_consistency import SelfConsistency as SelfConsistency
    from treereason.search.single_sample import SingleSample as SingleSample
    from treereason.search.tree_of_thoughts import TreeOfThoughts as TreeOfThoughts

_MODULES = {
    "BestOfN": "treereason.search.best_of_n",
    "Recorded": "treereason.search.recorded",
    "SelfConsistency": "treereason.search.self_consistency",
    "SingleSample": "treereason.search.single_sample",
    "TreeOfThoughts": "treereason.search.tree_of_thoughts",
}
__all__ = [*_MODULES]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
