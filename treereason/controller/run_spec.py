"""One run, checked: everything but the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from treereason.config.on_a_server import refuse_unheeded
from treereason.config.registry import import_plugins
from treereason.config.schema import Config
from treereason.config.scorers import importable, load_scorer, scorer_reference
from treereason.config.user_files import telling
from treereason.config.validate import build_search, build_task, read_problems
from treereason.core import Problem, Scorer, Search, Task, UserError


@dataclass(frozen=True)
class RunSpec:
    """What the command line and `treereason.run` hand over.

    scorer: a reference that `user_files.load` understands in any process, or a scorer that only this process has.
    program, overrides: what the user typed, for the report; program is "" for a run that Python started.
    """

    config: Config
    task: Task
    search: Search
    problems: Sequence[Problem]
    scorer: str | Scorer
    program: str = "treereason"
    overrides: tuple[str, ...] = ()


def spec_of(config: Config) -> RunSpec:
    """All of a run that needs no model, from its configuration alone. Raises UserError."""
    import_plugins(config.plugins)  # those of a file, too
    with telling():
        return specify(config, build_task(config.task), build_search(config.search))


def specify(config: Config, task: Task, search: Search, scorer: Scorer | None = None) -> RunSpec:
    """Check that the parts of a run go together, and read its problems; all that needs no model. Raises UserError.

    scorer: instead of the one that `config` or the task names.
    """
    refuse_unheeded(config)
    names = config.task["name"], config.search["name"]
    if "recorded" in names and names != ("recorded", "recorded"):
        raise UserError(
            f"task={names[0]} search={names[1]}: a recorded search needs both task=recorded and search=recorded"
        )
    if (refusal := getattr(search, "refusal", None)) is not None and (reason := refusal(task, config)):
        raise UserError(reason)
    found = scorer_reference(config.scorer, task) if scorer is None else importable(scorer) or scorer
    if isinstance(found, str):
        scorer = load_scorer(found)
        if found.startswith("__main__:"):  # a script or notebook: another process would have to run it from its start
            found = scorer
    if (refusal := getattr(scorer, "refusal", None)) is not None and (reason := refusal(task, config)):
        raise UserError(f"scorer={config.scorer or task.scorer}: {reason}")
    problems = read_problems(task, names[0], config.seed, config.model.style)
    return RunSpec(config, task, search, problems, found)
