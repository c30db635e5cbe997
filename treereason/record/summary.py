"""summary.json: what a run did, in numbers."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import metadata
from itertools import zip_longest
from pathlib import Path
from typing import Any

from treereason.events import Event, ProblemDone, RunDone, RunResumed, RunStarted, StepDone
from treereason.jsonable import jsonable
from treereason.record.folder import unwritable
from treereason.version import __version__

NAME = "summary.json"


@dataclass
class _Pass:
    """What one pass over the problems added up to."""

    started: RunStarted
    start: float
    end: float
    done: dict[str, ProblemDone] = field(default_factory=dict)
    tokens_decoded: int = 0
    tokens_rebuilt: int = 0
    kv_tokens_peak: int = 0
    kv_tokens_read_tree: int = 0
    kv_tokens_read_sequence: int = 0
    kv_tokens_read_spans: int = 0
    launches: Counter[str] = field(default_factory=Counter)
    graph_bytes: int = 0

    def step(self, event: StepDone) -> None:
        self.tokens_decoded += event.tokens_decoded
        self.tokens_rebuilt += event.tokens_rebuilt
        self.kv_tokens_peak = max(self.kv_tokens_peak, event.kv_tokens_peak)
        self.kv_tokens_read_tree += event.kv_tokens_read_tree
        self.kv_tokens_read_sequence += event.kv_tokens_read_sequence
        self.kv_tokens_read_spans += event.kv_tokens_read_spans
        if event.launch:
            self.launches[event.launch] += 1
        self.graph_bytes = max(self.graph_bytes, event.graph_bytes)

    @property
    def num_solved(self) -> int:
        return sum(done.solved for done in self.done.values())

    @property
    def num_failed(self) -> int:
        return sum(done.status == "failed" for done in self.done.values())

    def num_finished(self, by: str) -> int:
        """Sampled texts that were ended so."""
        return sum(done.finishes.get(by, 0) for done in self.done.values())

    @property
    def first_error(self) -> str | None:
        return next((f"{done.problem}: {done.error}" for done in self.done.values() if done.status == "failed"), None)

    @property
    def guided_by(self) -> list[tuple[str, str]]:
        """Names of scorers, each with what its verdicts rest on: "" in journals that do not tell it."""
        problems = self.done.values()
        return sorted(
            {pair for done in problems for pair in zip_longest(done.guided_by, done.guided_by_basis, fillvalue="")}
        )

    @property
    def oracle_guided(self) -> bool:
        """Whether a scorer that knows the truth steered the search, and did not only judge its answers."""
        by_run = self.started.scorer if self.started.scorer_oracle else None
        return any(basis == "oracle" or name == by_run for name, basis in self.guided_by)

    @property
    def first_thought_error(self) -> str | None:
        errors = ((done.problem, done.first_thought_error) for done in self.done.values())
        return next((f"{problem}: {error}" for problem, error in errors if error is not None), None)

    @property
    def complete(self) -> bool:
        return len(self.done) >= self.started.num_problems

    @property
    def mean_score(self) -> float | None:
        return _mean(done.score for done in self.done.values())

    @property
    def single_sample_solved(self) -> float | None:
        """Problems that one sample solves, on average over the samples drawn."""
        share = _mean(_mean(map(float, done.single_sample_solved)) for done in self.done.values())
        return None if share is None else share * len(self.done)

    @property
    def single_sample_mean_score(self) -> float | None:
        return _mean(_mean(done.single_sample_scores) for done in self.done.values())


class Summary:
    """A sink that adds up a run; `as_dict` may be called at any moment.

    All figures are those of the search pass, but for the `greedy_` ones: those are null until the greedy pass has done
    a problem.

    tokens_decoded, _prefilled, _reused, _wasted: of the problems that are done, the sums of results.jsonl.
    judge_tokens_decoded, judge_tokens_prefilled: of these, what scorers took that ask the run's own model.
    tokens_unfinished: decoded for problems that an interrupted run did not finish.
    tokens_rebuilt, tokens_per_second, KV figures: of all engine steps.
    Means: over the problems that have a finite score; null without any.
    thoughts_cut: those whose text a token limit ended. thoughts_empty: those without text that give no answer.
    finishes: how many sampled texts the model ended ("end"), a stop string ("stop"), a token limit ("length").
    scorer_basis: what the verdicts of the run's scorer rest on: oracle, label_free, judge, derived or unmarked.
    guided_by, guided_by_basis, oracle_guided: the scorers that the search asked, what each rests on, and whether one
    that knows the truth was among them. A search that asked none, such as a majority vote, has empty lists.
    On a GPU only: launches, steps replayed from a CUDA graph and eager ones by reason; graph_bytes, the most device
    memory that graphs held, beside model and KV.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds; pass another one to add up a journal of the past."""
        self._clock = clock
        self._passes: dict[str, _Pass] = {}
        self._current: _Pass | None = None
        self._status: str | None = None
        self.extra: dict[str, Any] = {}
        """Further entries of summary.json."""

    def __call__(self, event: Event) -> None:
        now = self._clock()
        if isinstance(event, RunStarted):
            self._current = self._passes[event.pass_name] = _Pass(event, start=now, end=now)
        elif isinstance(event, RunDone | RunResumed):
            self._status = event.status if isinstance(event, RunDone) else None
        elif self._current is not None:
            self._current.end = now
            if isinstance(event, StepDone):
                self._current.step(event)
            elif isinstance(event, ProblemDone):
                self._current.done[event.problem] = event

    @property
    def status(self) -> str:
        """What RunDone said; before it, "done" once all problems of every pass that began are done."""
        if self._status is not None:
            return self._status
        complete = bool(self._passes) and all(a_pass.complete for a_pass in self._passes.values())
        return "done" if complete else "interrupted"

    def as_dict(self, status: str | None = None) -> dict[str, Any]:
        """What summary.json holds. Seconds are wall time; token figures count tokens, KV figures KV tokens."""
        search = self._passes.get("search")
        if search is None:
            return {"status": status or self.status, "versions": versions()}
        greedy = self._passes.get("greedy")
        if greedy is not None and not greedy.done:
            greedy = None
        started = search.started
        seconds = search.end - search.start
        decoded = sum(done.tokens_decoded for done in search.done.values())
        return {
            "status": status or self.status,
            "task": started.task,
            "search": started.search,
            "model": started.model,
            "scorer": started.scorer,
            "scorer_oracle": started.scorer_oracle,
            "scorer_basis": started.scorer_basis,
            "guided_by": [name for name, _ in search.guided_by],
            "guided_by_basis": [basis for _, basis in search.guided_by],
            "oracle_guided": search.oracle_guided,
            "seed": started.seed,
            "repeats": started.repeats,
            "problems": started.num_problems,
            "problems_done": len(search.done),
            "solved": search.num_solved,
            "failed": search.num_failed,
            "first_error": search.first_error,
            "thoughts_failed": sum(done.thoughts_failed for done in search.done.values()),
            "first_thought_error": search.first_thought_error,
            "thoughts_cut": sum(done.thoughts_cut for done in search.done.values()),
            "thoughts_empty": sum(done.thoughts_empty for done in search.done.values()),
            "finishes": {name: search.num_finished(name) for name in ("end", "stop", "length")},
            "mean_score": search.mean_score,
            "single_sample_solved": search.single_sample_solved,
            "single_sample_mean_score": search.single_sample_mean_score,
            "greedy_problems_done": len(greedy.done) if greedy else None,
            "greedy_solved": greedy.num_solved if greedy else None,
            "greedy_mean_score": greedy.mean_score if greedy else None,
            "tokens_decoded": decoded,
            "tokens_prefilled": sum(done.tokens_prefilled for done in search.done.values()),
            "tokens_rebuilt": search.tokens_rebuilt,
            "tokens_reused": sum(done.tokens_reused for done in search.done.values()),
            "tokens_wasted": sum(done.tokens_wasted for done in search.done.values()),
            "judge_tokens_decoded": sum(done.judge_tokens_decoded for done in search.done.values()),
            "judge_tokens_prefilled": sum(done.judge_tokens_prefilled for done in search.done.values()),
            "tokens_unfinished": search.tokens_decoded - decoded,
            "kv_tokens_peak": search.kv_tokens_peak,
            "kv_tokens_read_tree": search.kv_tokens_read_tree,
            "kv_tokens_read_sequence": search.kv_tokens_read_sequence,
            **({"kv_tokens_read_spans": search.kv_tokens_read_spans} if search.kv_tokens_read_spans else {}),
            "kv_read_ratio": _ratio(search.kv_tokens_read_sequence, search.kv_tokens_read_tree),
            "seconds": seconds,
            "tokens_per_second": _ratio(search.tokens_decoded, seconds),
            **({"launches": dict(search.launches), "graph_bytes": search.graph_bytes} if search.launches else {}),
            **self.extra,
            "versions": versions(),
        }

    def write(self, folder: Path, status: str | None = None) -> Path:
        """Replace summary.json in `folder` at once, so that a reader never sees half of it; returns its path.

        status: overrides the status that the events tell. Raises UserError when the file cannot be written.
        """
        path = folder / NAME
        temporary = folder / f".{NAME}.{os.getpid()}"
        try:
            temporary.write_text(json.dumps(jsonable(self.as_dict(status)), indent=2) + "\n", encoding="utf-8")
            return temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise unwritable(path, error.strerror) from error


def versions() -> dict[str, str | None]:
    """Versions of python and the packages that decide a run's numbers; None for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version(), "treereason": __version__}
    for package in ("torch", "transformers"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    try:
        return math.fsum(finite) / len(finite) if finite else None
    except OverflowError:  # the sum is larger than any float, the mean is not
        return math.fsum(value / len(finite) for value in finite)


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None
