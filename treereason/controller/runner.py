"""Drives the searches of all problems over one engine: whoever can go on goes on, then everybody decodes together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol

from treereason import events
from treereason.controller.budget import Budget
from treereason.controller.problem_result import ProblemResult
from treereason.controller.tree import BROKEN, SearchTree, Wait
from treereason.core import Decoded, Expansion, Problem, Sampling, Score, Search, Task, Thought
from treereason.profile import Profile
from treereason.scoring.in_process import InProcess
from treereason.scoring.process import Scoring
from treereason.text import describe

OUT_OF_TIME = "the problem's budget.seconds are spent"


class Model(Protocol):
    """What a search must know of a model: the style of its prompts."""

    @property
    def style(self) -> str: ...


class Engine(Protocol):
    """What decodes, on this machine (`engine/engine.py`) or on a server (`remote/engine.py`)."""

    @property
    def model(self) -> Model: ...

    @property
    def busy(self) -> bool: ...

    def submit(self, expansion: Expansion) -> None:
        """Queue the expansion; its children come back from `step`, failed ones with an error."""
        ...

    def step(self) -> tuple[list[Decoded], events.StepDone | None]:
        """Go on for a moment. Returns the children that are done, and figures (None when nothing was computed)."""
        ...

    def stop(self, problem: str, error: str) -> None:
        """End all that the problem is decoding; it comes back from `step` with this error."""
        ...

    def release(self, problem: str, path: tuple[int, ...]) -> None:
        """A thought is no longer needed."""
        ...

    def end_problem(self, problem: str) -> int:
        """Give up and release all of a problem; returns the most KV tokens it ever held."""
        ...


class _Run:
    """One problem in flight: its coroutine, and what that waits for."""

    def __init__(self, tree: SearchTree, search: Search, budget: Budget) -> None:
        self.tree = tree
        self.budget = budget
        self.num_awaited = 0
        self.answer: Thought | None = None
        self.error: str | None = None
        self._search = search
        self._coroutine: Coroutine[Any, None, Any] | None = None

    def resume(self) -> Wait | None:
        """What it waits for next, None when it is over; `answer` and `error` hold its end."""
        try:
            if self._coroutine is None:
                self._coroutine = self._search.run(self.tree)
            wait = self._coroutine.send(None)
        except StopIteration as stop:
            if stop.value is None or isinstance(stop.value, Thought):
                self.answer = stop.value
            else:
                self.error = f"search: run returned {type(stop.value).__name__}: return a Thought or None"
            return None
        except BROKEN as error:
            self.error = f"search: {describe(error)}"
            return None
        if isinstance(wait, Wait):
            return wait
        self.error = "search: it awaited something else than the tree: a search may only await the tree's primitives"
        return None

    def close(self) -> None:
        # Its problem is over, whatever a search does that is told to end.
        with suppress(*BROKEN):
            if self._coroutine is not None:
                self._coroutine.close()


class Runner:
    """Runs one search over many problems, at most `parallel_problems` at a time, in their order.

    budget: makes the budget of one problem, when that starts.
    `stopped` is asked between steps: once it says yes, problems in flight are given up and `run` returns.
    collect: is told of each problem that is done, with its thoughts.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        scoring: Scoring | InProcess,
        task: Task,
        search: Search,
        sampling: Sampling,
        parallel_problems: int,
        emit: events.Sink,
        budget: Callable[[], Budget] = Budget,
        stopped: Callable[[], bool] = lambda: False,
        profile: Profile | None = None,
        collect: Callable[[ProblemResult], None] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._scoring = scoring
        self._task = task
        self._search = search
        self._sampling = sampling
        self._parallel_problems = parallel_problems
        self._emit = emit
        self._budget = budget
        self._stopped = stopped
        self._profile = profile or Profile()
        self._collect = collect
        self._active: dict[str, _Run] = {}

    def run(self, problems: Sequence[Problem]) -> None:
        waiting = deque(problems)
        while (waiting or self._active) and not self._stopped():
            with self._profile.measure("search"):
                while waiting and len(self._active) < self._parallel_problems:
                    self._start(waiting.popleft())
            for name, run in list(self._active.items()):
                if run.budget.out_of_time:
                    self._engine.stop(name, OUT_OF_TIME)
                    self._take_verdicts(self._scoring.stop(name, OUT_OF_TIME))
            if self._engine.busy:
                decoded, figures = self._engine.step()
                if figures is not None:
                    self._emit(figures)
                with self._profile.measure("search"):
                    for child in decoded:
                        run = self._active[child.problem]
                        run.tree.take_decoded(child)
                        self._one_less(run)
            with self._profile.measure("scorer"):
                verdicts = self._scoring.poll(0.0 if self._engine.busy else 0.05)
            with self._profile.measure("search"):
                self._take_verdicts(verdicts)
        for run in list(self._active.values()):
            self._end(run)

    def _start(self, problem: Problem) -> None:
        self._emit(events.ProblemStarted(problem.id, problem.input))
        budget = self._budget()
        tree = SearchTree(
            problem,
            self._task,
            style=self._engine.model.style,
            sampling=self._sampling,
            release=lambda path: self._engine.release(problem.id, path),
            emit=self._emit,
            budget=budget,
        )
        run = _Run(tree, self._search, budget)
        self._active[problem.id] = run
        self._advance(run)

    def _take_verdicts(self, verdicts: list[tuple[Thought, Score | str]]) -> None:
        for thought, verdict in verdicts:
            if (run := self._active.get(thought.problem.id)) is not None:
                run.tree.take_score(thought, verdict)
                self._one_less(run)

    def _one_less(self, run: _Run) -> None:
        run.num_awaited -= 1
        if not run.num_awaited:
            self._advance(run)

    def _advance(self, run: _Run) -> None:
        """Let the search go on until it waits for something, or is over."""
        wait = run.resume()
        if wait is None:
            self._done(run, self._end(run))
            return
        run.num_awaited = sum(len(expansion.children) for expansion in wait.expansions) + len(wait.thoughts)
        assert run.num_awaited, "a search waits for nothing"
        for expansion in wait.expansions:
            self._engine.submit(expansion)
        for thought in wait.thoughts:
            self._scoring.submit(thought)

    def _end(self, run: _Run) -> int:
        """Return all KV of the problem; the most KV tokens that it held."""
        problem = run.tree.root.problem
        del self._active[problem.id]
        run.close()
        return self._engine.end_problem(problem.id)

    def _done(self, run: _Run, kv_tokens_peak: int) -> None:
        tree, best = run.tree, run.answer
        problem = tree.root.problem
        error = run.error
        if best is None and error is None:
            error = next((t.error for t in tree.thoughts if t.error), "no thought holds an answer")
        samples: list[Thought] = []
        solved = False
        try:
            samples = tree.single_samples()
            solved = best is not None and self._solves(best)
        except BROKEN as broken:
            error = error or f"task: {describe(broken)}"
        done = events.ProblemDone(
            problem=problem.id,
            status="done" if error is None else "failed",
            solved=solved,
            score=best.score.value if best is not None and best.score is not None else None,
            answer=best.answer if best is not None else None,
            best=best.path if best is not None else None,
            error=error,
            tokens_decoded=tree.cost.tokens_decoded,
            tokens_prefilled=tree.cost.tokens_prefilled,
            tokens_reused=tree.cost.tokens_reused,
            kv_tokens_peak=kv_tokens_peak,
            single_sample_scores=tuple(t.score.value for t in samples if t.score is not None),
            tokens_wasted=tree.tokens_wasted(best),
            single_sample_solved=tuple(self._sample_solves(t) for t in samples),
        )
        self._emit(done)
        self._collect(ProblemResult.of(done, problem, best, tree.thoughts))

    def _solves(self, thought: Thought) -> bool:
        """No answer is never right: tasks are not asked about None."""
        return thought.answer is not None and bool(self._task.solved(thought.problem, thought.answer))

    def _sample_solves(self, thought: Thought) -> bool:
        """A sample whose answer breaks the task is not right, and takes nothing from the answer of the search."""
        try:
            return self._solves(thought)
        except BROKEN:
            return False
