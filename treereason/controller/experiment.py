"""One run, from a checked specification to its results: scoring, engine, search, baseline, record and display."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from treereason import events
from treereason.controller.fingerprint import fingerprint
from treereason.controller.machine import Machine
from treereason.controller.model import settled
from treereason.controller.parts import passes
from treereason.controller.problem_result import ProblemResult
from treereason.controller.recording import Recording, changes
from treereason.controller.run_spec import RunSpec
from treereason.controller.user_code import UserCode
from treereason.display.base import Display
from treereason.engine.model.language_model import LanguageModel
from treereason.profile import Profile
from treereason.record.begun_run import BegunRun

if TYPE_CHECKING:  # its packages are an extra
    from treereason.remote.server import Server


def run_experiment(
    spec: RunSpec,
    model: LanguageModel | Server,
    folder: Path | None = None,
    screen: Display | None = None,
    stopped: Callable[[], bool] = lambda: False,
    user_code: UserCode | None = None,
    collect: Callable[[ProblemResult], None] = lambda _: None,
    trackers: Sequence[events.Sink] = (),
    before: BegunRun | None = None,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Run the search and the baseline; returns what summary.json holds.

    folder: where the run is recorded; without one nothing is written to disk. screen: shows the run; opened and closed
    by this function. stopped: asked between two steps; True ends the run early and cleanly, with status "interrupted".
    user_code: lets whoever stops the run leave a search that does not give way. collect: is called with the result of
    each problem that the search has finished here. trackers: get every event as well, in the order in which it is
    recorded.
    before: what an earlier process has done of this run, which then goes on. force: also when something has changed.

    Raises UserError when the folder cannot be written, and when what decides the results is not as it was before.
    However it ends, no process is left behind.
    """
    spec = replace(spec, config=settled(spec.config, model))
    mark = fingerprint(spec, model) if folder is not None else {}
    found = changes(before.started, spec, mark, force=force) if before is not None else []
    profile = Profile()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    # What may fail comes first: a start that fails leaves the record of an earlier run alone.
    with (
        Machine(spec, model, folder, profile) as machine,
        Recording(folder, screen or Display(), before, profile, trackers) as emit,
    ):
        emit.go_on(found)
        for pass_name, _, _ in passes(spec):
            if stopped():
                break
            begun = emit.begin(spec, pass_name, machine.repeats, mark)
            runner = machine.runner(
                pass_name,
                emit,
                records=begun.begun,
                commit=emit.commit,
                stopped=stopped,
                user_code=user_code,
                collect=collect if pass_name == "search" else lambda _: None,
            )
            runner.run([problem for problem in spec.problems if problem.id not in begun.done])
        return emit.end("interrupted" if stopped() else "done", machine.remarks | machine.figures)
