"""Search algorithms: coroutines over the primitives of `core.Tree`. Each is imported when it is first asked for."""

from typing import TYPE_CHECKING

from treereason.lazy import lazy_classes

if TYPE_CHECKING:  # what editors and type checkers know; a new file is found without
    from treereason.search.ab_mcts import ABMCTS as ABMCTS
    from treereason.search.beam import Beam as Beam
    from treereason.search.best_of_n import BestOfN as BestOfN
    from treereason.search.choose import Choose as Choose
    from treereason.search.depth_first import DepthFirst as DepthFirst
    from treereason.search.dvts import DVTS as DVTS
    from treereason.search.ets import ETS as ETS
    from treereason.search.graph_of_thoughts import GraphOfThoughts as GraphOfThoughts
    from treereason.search.mcts import MCTS as MCTS
    from treereason.search.particle_filtering import ParticleFiltering as ParticleFiltering
    from treereason.search.rebase import Rebase as Rebase
    from treereason.search.recorded import Recorded as Recorded
    from treereason.search.refine import Refine as Refine
    from treereason.search.sample_until import SampleUntil as SampleUntil
    from treereason.search.self_consistency import SelfConsistency as SelfConsistency
    from treereason.search.single_sample import SingleSample as SingleSample
    from treereason.search.successive_halving import SuccessiveHalving as SuccessiveHalving
    from treereason.search.tree_of_thoughts import TreeOfThoughts as TreeOfThoughts

__getattr__, __dir__ = lazy_classes(__name__, __path__, {})
