"""treereason: tree search over language models on a token forest that is computed, stored and read once.

    import treereason as tr

    model = tr.load("embedded")
    run = tr.run(tr.tasks.Sorting(length=64, limit=20), tr.search.TreeOfThoughts(k=5), model, seed=0)
    run.solved, run.problems[0].best.transcript(), run.summary

`tr.Engine` is the forest without tasks and searches. Everything is imported when it is first used, so `import
treereason` is fast.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from treereason.lazy import lazy_names
from treereason.version import __version__

# In a checkout, kernels/, tasks/ and conf/ lie beside this package and import as treereason.kernels and so on.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))

if TYPE_CHECKING:
    from treereason import search as search
    from treereason import tasks as tasks
    from treereason.api import ProblemResult as ProblemResult
    from treereason.api import Run as Run
    from treereason.api import load as load
    from treereason.api import run as run
    from treereason.config.plugins import register as register
    from treereason.core import Cost as Cost
    from treereason.core import Decoded as Decoded
    from treereason.core import Expansion as Expansion
    from treereason.core import Finish as Finish
    from treereason.core import Problem as Problem
    from treereason.core import Prompt as Prompt
    from treereason.core import Resumption as Resumption
    from treereason.core import Sampling as Sampling
    from treereason.core import Score as Score
    from treereason.core import Search as Search
    from treereason.core import SpanGrammar as SpanGrammar
    from treereason.core import Status as Status
    from treereason.core import Task as Task
    from treereason.core import Thought as Thought
    from treereason.core import Tree as Tree
    from treereason.core import UserError as UserError
    from treereason.core import Writing as Writing
    from treereason.core import derived as derived
    from treereason.core import judge as judge
    from treereason.core import label_free as label_free
    from treereason.core import oracle as oracle
    from treereason.engine.engine import Engine as Engine

_MODULES = {
    "Cost": "treereason.core",
    "Decoded": "treereason.core",
    "Engine": "treereason.engine.engine",
    "Expansion": "treereason.core",
    "Finish": "treereason.core",
    "Problem": "treereason.core",
    "ProblemResult": "treereason.api",
    "Prompt": "treereason.core",
    "Resumption": "treereason.core",
    "Run": "treereason.api",
    "Sampling": "treereason.core",
    "Score": "treereason.core",
    "Search": "treereason.core",
    "SpanGrammar": "treereason.core",
    "Status": "treereason.core",
    "Task": "treereason.core",
    "Thought": "treereason.core",
    "Tree": "treereason.core",
    "UserError": "treereason.core",
    "Writing": "treereason.core",
    "derived": "treereason.core",
    "judge": "treereason.core",
    "label_free": "treereason.core",
    "load": "treereason.api",
    "oracle": "treereason.core",
    "register": "treereason.config.plugins",
    "run": "treereason.api",
    "search": "treereason.search",
    "tasks": "treereason.tasks",
}
__all__ = ["__version__", *_MODULES]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
