"""What computes in one process: the engine on its model and the scorer, for pass after pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from treereason import events
from treereason.config.on_a_server import told_unheeded
from treereason.controller.budget import Budget
from treereason.controller.drafting import drafts_told
from treereason.controller.model import open_engine, repeats, sampling_of
from treereason.controller.parts import inline_scorer, passes, scorer_name, scorer_of, start_scoring, statistics_for
from treereason.controller.problem_result import ProblemResult
from treereason.controller.run_spec import RunSpec
from treereason.controller.runner import Runner
from treereason.controller.user_code import UserCode
from treereason.core import basis_of
from treereason.core.spans import Spans
from treereason.engine.model.language_model import LanguageModel
from treereason.profile import Profile
from treereason.record.begun_problem import BegunProblem

if TYPE_CHECKING:  # its packages are an extra
    from treereason.remote.server import Server


class Machine:
    """Use it as a context manager: however it ends, no process is left behind. folder: for the scorer's prints."""

    def __init__(
        self, spec: RunSpec, model: LanguageModel | Server, folder: Path | None, profile: Profile | None = None
    ) -> None:
        self._spec = spec
        self._model = model
        self._profile = profile or Profile()
        self._scorer = inline_scorer(spec)
        with ExitStack() as on_error:
            self._spans: Spans | None = getattr(spec.task, "spans", None)
            opened = open_engine(spec.config, model, self._profile, statistics_for(spec), self._spans)
            self._engine = on_error.enter_context(opened)
            self._scoring = start_scoring(spec, folder, start=self._scorer is None)
            on_error.callback(self._scoring.close)
            self._opened = on_error.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    @property
    def repeats(self) -> str:
        """When the run gives the same results again, in words."""
        return repeats(self._spec.config, self._model, basis_of(scorer_of(self._spec)), self._spans)

    @property
    def remarks(self) -> dict[str, Any]:
        """What the summary tells of it."""
        found: dict[str, Any] = {}
        if isinstance(self._model, LanguageModel) and self._model.device.type != "cpu" and self._model.fused:
            found["fused"] = self._model.fused
        if threads := getattr(self._engine, "threads", ""):
            found["threads"] = threads
        if capabilities := getattr(self._model, "capabilities", None):
            found["server"] = str(capabilities)
        return found | told_unheeded(self._spec.config, with_spans=self._spans is not None)

    @property
    def figures(self) -> dict[str, Any]:
        """What the summary tells of its work so far, where it was asked for."""
        found: dict[str, Any] = {}
        if drafts := drafts_told(self._engine):
            found["speculative"] = drafts
        if self._spec.config.engine.profile:
            found["profile"] = self._profile.shares()
        return found

    def runner(
        self,
        pass_name: str,
        emit: events.Sink,
        *,
        records: dict[str, BegunProblem],
        parallel_problems: int | None = None,
        commit: Callable[[], None] = lambda: None,
        stopped: Callable[[], bool] = lambda: False,
        user_code: UserCode | None = None,
        collect: Callable[[ProblemResult], None] = lambda _: None,
    ) -> Runner:
        """What drives the searches of one pass; options as in Runner."""
        spec, config = self._spec, self._spec.config
        _, search, temperature = next(each for each in passes(spec) if each[0] == pass_name)
        return Runner(
            engine=self._engine,
            scoring=self._scoring,
            task=spec.task,
            search=search,
            sampling=replace(sampling_of(config), temperature=temperature),
            parallel_problems=parallel_problems or config.engine.parallel_problems,
            emit=emit,
            seed=config.seed,
            scorer=scorer_name(spec),
            scorer_basis=basis_of(scorer_of(spec)),
            inline_scorer=self._scorer,
            budget=lambda: Budget(config.budget.tokens, config.budget.seconds),
            commit=commit,
            stopped=stopped,
            user_code=user_code,
            profile=self._profile,
            collect=collect,
            records=records,
        )
