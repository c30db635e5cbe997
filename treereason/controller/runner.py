"""Drives the searches of all problems over one decoder: each runs until it waits, then all are decoded together."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from treereason import events
from treereason.controller.asking import Ask, BudgetSpent
from treereason.controller.budget import Budget
from treereason.controller.decoder import Decoder
from treereason.controller.growth import BROKEN
from treereason.controller.log_once import LogOnce
from treereason.controller.no_answer import why_no_answer
from treereason.controller.problem_result import ProblemResult
from treereason.controller.tree import SearchTree
from treereason.controller.user_code import Left, UserCode
from treereason.controller.waiting import Listed, Waiting
from treereason.core import Basis, Problem, Sampling, Score, Scorer, Search, Status, Task, Thought
from treereason.profile import Profile
from treereason.record.begun_problem import BegunProblem
from treereason.scoring.process import Scoring
from treereason.text import describe, raised_in, shown

_log = logging.getLogger(__name__)
OUT_OF_TIME = "the problem's budget.seconds are spent"
NO_PRIMITIVE = (
    "it awaited something that is not a primitive of the tree, such as asyncio.sleep or a task: "
    "await tree.expand and the like, and tree.gather for several at once"
)


class _Run:
    """One problem in flight: its search, then the evaluation of what that answered; and what it waits for."""

    def __init__(self, tree: SearchTree, search: Search, budget: Budget) -> None:
        self.tree = tree
        self.budget = budget
        self.num_awaited = 0
        self.answer: Thought | None = None
        self.error: str | None = None
        self.evaluating = False
        self.kv_tokens_peak: int | None = None
        self.live = False  # it has asked for something that the record does not tell
        self._search = search
        self._coroutine: Coroutine[Any, None, Any] | None = None

    def resume(self) -> Ask | None:
        """What it waits for next; None when it is over, with its `answer` or `error`."""
        if not self.evaluating:
            ask = self._go_on()
            if ask is not None:
                return ask
            self.close()
            self.evaluating = True
            self._coroutine = self.tree.evaluate(self.answer)
        try:
            ask = self._step()
            assert isinstance(ask, Ask)
            return ask
        except (StopIteration, BudgetSpent):  # nothing is left for a scorer that decodes
            return None
        except BROKEN as error:  # of the task's, which is asked whether a thought is whole
            self.error = self.error or f"task: {describe(error)}{raised_in(error, self.tree.task)}"
            return None

    def close(self) -> None:
        # Its problem is over, whatever a search does that is told to end.
        with suppress(*BROKEN, BudgetSpent):
            if self._coroutine is not None:
                self._coroutine.close()
            self.tree.calls.forgotten()  # those that were left before they were awaited

    def _go_on(self) -> Ask | None:
        try:
            if self._coroutine is None:
                self._coroutine = self._search.run(self.tree)
                if not isinstance(self._coroutine, Coroutine):
                    raise TypeError("run is not a coroutine: write `async def run(self, tree)`")
            ask = self._step()
        except StopIteration as stop:
            if stop.value is None or isinstance(stop.value, Thought):
                self.answer = stop.value
            else:
                self.error = f"search: run returned {type(stop.value).__name__}: return a Thought or None"
        except BudgetSpent:
            self.answer = self.tree.best()
        except BROKEN as error:
            self.error = f"search: {describe(error)}{raised_in(error, self._search, self.tree.task)}"
        else:
            if isinstance(ask, Ask):
                return ask
            self.error = f"search: {NO_PRIMITIVE}"
        if (forgotten := self.tree.calls.forgotten()) is not None:
            self.answer, self.error = None, f"search: {forgotten}"
        return None

    def _step(self) -> Any:
        assert self._coroutine is not None
        self.tree.growth.turn += 1
        return self._coroutine.send(None)


class Runner:
    """Runs one search over many problems, at most `parallel_problems` at a time, in their order.

    budget: makes the budget of one problem, when that starts. seed: of the searches' own choices.
    scorer: name of the run's scorer; scorer_basis: what its verdicts rest on; inline_scorer: that scorer, where it runs
    beside the search and not in a second process: a coroutine function, or what another process cannot import.
    commit: called before each step of the engine and before scorers are waited for, when all that is known is told.
    stopped: asked between steps; once it is true, problems in flight are given up and `run` returns.
    records: by problem, what the journal tells of those that an earlier process has begun. Each of these searches runs
    once more from its start, answered from its record, and goes on where that ends. One that asks for something else
    than before starts over.
    user_code: is told when searches, tasks and scorers are at work; whoever sets `stopped` may leave them by it.
    collect: is called with the result of each problem that is done.
    """

    def __init__(
        self,
        *,
        engine: Decoder,
        scoring: Scoring,
        task: Task,
        search: Search,
        sampling: Sampling,
        parallel_problems: int,
        emit: events.Sink,
        seed: int = 0,
        scorer: str = "",
        scorer_basis: Basis = Basis.UNMARKED,
        inline_scorer: Scorer | None = None,
        budget: Callable[[], Budget] = Budget,
        commit: Callable[[], None] = lambda: None,
        stopped: Callable[[], bool] = lambda: False,
        user_code: UserCode | None = None,
        profile: Profile | None = None,
        collect: Callable[[ProblemResult], None] = lambda _: None,
        records: dict[str, BegunProblem] | None = None,
    ) -> None:
        self._engine = engine
        self._scoring = scoring
        self._task = task
        self._search = search
        self._sampling = sampling
        self._parallel_problems = parallel_problems
        self._user_code = user_code or UserCode()
        self._emit = self._user_code.uninterrupted(emit)
        self._seed = seed
        self._scorer = scorer
        self._scorer_basis = scorer_basis
        self._inline_scorer = inline_scorer
        self._budget = budget
        self._commit = commit
        self._stopped = stopped
        self._profile = profile or Profile()
        self._collect = collect
        self._log_once = LogOnce()
        self._records = records if records is not None else {}
        self._known_verdicts: list[tuple[Thought, Score | str]] = []
        self._active: dict[str, _Run] = {}
        self._ready: deque[_Run] = deque()

    def run(self, problems: Sequence[Problem] | Waiting) -> None:
        with suppress(Left):
            self._drive(problems if isinstance(problems, Waiting) else Listed(problems))
        for run in list(self._active.values()):
            self._end(run)

    def _drive(self, waiting: Waiting) -> None:
        while (waiting.more or self._active) and not self._stopped():
            with self._profile.measure("search"):
                while len(self._active) < self._parallel_problems:
                    if (problem := waiting.take(wait=not self._active)) is None:
                        break
                    self._start(problem)
                for run in [self._ready.popleft() for _ in range(len(self._ready))]:
                    self._advance(run)
            for name, run in list(self._active.items()):
                if run.budget.out_of_time and not run.evaluating:
                    self._engine.stop(name, OUT_OF_TIME)
                    self._take_verdicts(self._scoring.stop(name, OUT_OF_TIME))
            self._commit()
            if self._engine.busy:
                decoded, figures = self._engine.step()
                if figures is not None:
                    self._emit(figures)
                with self._profile.measure("search"):
                    for child in decoded:
                        run = self._active[child.problem]
                        with self._user_code.running():  # the task reads the answer
                            run.tree.take_decoded(child)
                        self._one_less(run)
            with self._profile.measure("scorer"):
                at_work = self._engine.busy or self._ready or self._known_verdicts
                verdicts = self._scoring.poll(0.0 if at_work else 0.05)
            with self._profile.measure("search"):
                known, self._known_verdicts = self._known_verdicts, []
                self._take_verdicts(known + verdicts)

    def _start(self, problem: Problem) -> None:
        record = self._records.pop(problem.id, None) or BegunProblem()

        def emit(event: events.Event) -> None:
            if not record.repeats(event):
                self._emit(event)

        emit(events.ProblemStarted(problem.id, problem.input))
        budget = self._budget()
        budget.begin_earlier(record.seconds)
        tree = SearchTree(
            problem,
            self._task,
            style=self._engine.style,
            sampling=self._sampling,
            drop_kv=self._user_code.uninterrupted(lambda path: self._engine.drop(problem.id, path)),
            kv_tokens=self._user_code.uninterrupted(lambda paths: self._engine.kv_tokens(problem.id, paths)),
            emit=emit,
            seed=self._seed,
            scorer=self._scorer,
            scorer_basis=self._scorer_basis,
            inline_scorer=self._inline_scorer,
            budget=budget,
            log_once=self._log_once,
            record=record,
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
        record, ask = run.tree.record, None
        if run.live:
            record.must_be_exhausted()
        if not record.diverged:
            with self._user_code.running():
                ask = run.resume()
            if ask is None:
                record.must_be_exhausted()
        if record.diverged:
            self._start_over(run)
            return
        if run.evaluating and self._inline_scorer is None and run.kv_tokens_peak is None:
            run.kv_tokens_peak = self._engine.end_problem(run.tree.root.problem.id)
        if ask is None:
            self._done(run, self._end(run))
            return
        run.num_awaited = ask.size
        if not run.num_awaited:  # it only gave the others their turn
            self._ready.append(run)
        for request in ask.requests:
            known = record.answers(request)
            run.live = run.live or len(known) < len(request.children)
            self._engine.submit(request, known)
        for thought in ask.thoughts:
            if (verdict := run.tree.recorded_verdict(thought)) is not None:
                self._known_verdicts.append((thought, verdict))
            else:
                run.live = True
                self._scoring.submit(thought)

    def _start_over(self, run: _Run) -> None:
        """Begin a problem anew whose search does not ask for what it asked before."""
        problem = run.tree.root.problem
        _log.warning("problem %s starts over: %s", shown(problem.id), run.tree.record.diverged)
        self._end(run)
        self._scoring.stop(problem.id, "")
        self._known_verdicts = [known for known in self._known_verdicts if known[0].problem is not problem]
        self._start(problem)

    def _end(self, run: _Run) -> int:
        """Return all KV of the problem, if that is not done yet; returns the most KV tokens that it had."""
        problem = run.tree.root.problem
        del self._active[problem.id]
        run.close()
        return self._engine.end_problem(problem.id) if run.kv_tokens_peak is None else run.kv_tokens_peak

    def _done(self, run: _Run, kv_tokens_peak: int) -> None:
        tree, best, error = run.tree, run.answer, run.error
        if best is None and error is None:
            error = next((t.error for t in tree.thoughts if t.error), None) or why_no_answer(tree.growth)
        samples: list[Thought] = []
        solved = False
        try:
            with self._user_code.running():
                samples = [thought for thought in tree.single_samples() if tree.scores.by_run(thought) is not None]
                solved = best is not None and self._solves(best)
        except BROKEN as broken:
            error = error or f"task: {describe(broken)}{raised_in(broken, tree.task)}"
        with self._user_code.running():
            samples_solved = tuple(self._sample_solves(thought) for thought in samples)
        evaluation = tree.scores.by_run(best) if best is not None else None
        failed = [thought for thought in tree.thoughts if thought.status is Status.FAILED]
        guided_by = sorted(tree.scores.guided_by)
        done = events.ProblemDone(
            problem=tree.root.problem.id,
            status="done" if error is None else "failed",
            solved=solved,
            score=evaluation.value if evaluation is not None else None,
            answer=best.answer if best is not None else None,
            best=best.path if best is not None else None,
            error=error,
            tokens_decoded=tree.cost.tokens_decoded,
            tokens_prefilled=tree.cost.tokens_prefilled,
            tokens_reused=tree.cost.tokens_reused,
            kv_tokens_peak=kv_tokens_peak,
            single_sample_scores=tuple(score.value for t in samples if (score := tree.scores.by_run(t)) is not None),
            tokens_wasted=tree.growth.tokens_wasted(best),
            single_sample_solved=samples_solved,
            thoughts_failed=len(failed),
            first_thought_error=failed[0].error if failed else None,
            judge_tokens_decoded=tree.growth.judge_cost.tokens_decoded,
            judge_tokens_prefilled=tree.growth.judge_cost.tokens_prefilled,
            guided_by=tuple(name for name, _ in guided_by),
            guided_by_basis=tuple(basis for _, basis in guided_by),
            thoughts_cut=tree.growth.num_cut,
            thoughts_empty=tree.growth.num_empty,
            finishes=tree.growth.finishes,
        )
        if not tree.record.repeats(done):
            self._emit(done)
        self._collect(ProblemResult.of(done, tree.root.problem, best, tree.thoughts))

    def _solves(self, thought: Thought) -> bool:
        """No answer is never right: tasks are not asked about None."""
        return thought.answer is not None and bool(self._task.solved(thought.problem, thought.answer))

    def _sample_solves(self, thought: Thought) -> bool:
        """A sample whose answer breaks the task is not right, and takes nothing from the answer of the search."""
        try:
            return self._solves(thought)
        except BROKEN:
            return False
