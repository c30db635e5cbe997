"""Tree of thoughts driven by our engine and by transformers' `generate`, side by side.

    python -m benchmarks.search [--length 64] [--problems 200] [--threads 2] [--repeats 3] [--record]

One search (TreeOfThoughts), one task (sorting digits), one scorer, one Runner and the shipped model; what differs is
what decodes. Sides: tree (our engine); generate_per_call (one `generate` call an expansion, its children as a batch,
which is how search frameworks drive it); generate_batched (all expansions that wait, of all problems in flight, in one
padded `generate` call). The sides run in one process and take turns; a ratio `tree_over_x` is the seconds of x over the
tree's, so more than 1 is better for the tree; its spread is over pairs of neighbouring runs. The last line is JSON.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP (docs/log.md)

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks.record import finish, spread, version
from treereason import events
from treereason.config.scorers import scorer_reference
from treereason.config.user_files import load
from treereason.controller.decoder import Decoder
from treereason.controller.runner import Runner
from treereason.core import Cost, Decoded, Expansion, Request, Sampling, ThoughtPath
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.load import EMBEDDED, load_model
from treereason.scoring.process import Scoring
from treereason.search.tree_of_thoughts import TreeOfThoughts
from treereason.tasks.sorting import Sorting

PACKAGES = ("torch", "transformers")
PEERS = ("generate_per_call", "generate_batched")
SEARCH = TreeOfThoughts()
SETTLE_S = 0.005


class GenerateEngine:
    """Decodes by `generate`. batched: every call serves all expansions that wait, otherwise the oldest alone.

    Batched, it waits until no expansion has come for 5 ms: scores come one by one, and a call for the first search
    that can go on would leave the others to a call of their own.
    """

    def __init__(self, network: PreTrainedModel, model: LanguageModel, *, batched: bool) -> None:
        self.model = model
        self.num_calls = 0
        self._network = network
        self._batched = batched
        self._waiting: list[Expansion] = []
        self._last_submitted = 0.0

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    @property
    def style(self) -> str:
        return self.model.style

    def submit(self, request: Request, known: Mapping[ThoughtPath, Decoded] | None = None) -> None:
        assert not known
        assert isinstance(request, Expansion), "tree of thoughts asks for nothing else"
        self._waiting.append(request)
        self._last_submitted = time.perf_counter()

    def step(self) -> tuple[list[Decoded], events.StepDone | None]:
        if self._batched and time.perf_counter() - self._last_submitted < SETTLE_S:
            time.sleep(SETTLE_S / 10)
            return [], None
        first = self._waiting[0]
        served = [first]
        if self._batched:
            served = [expansion for expansion in self._waiting if _kind(expansion) == _kind(first)]
        self._waiting = [expansion for expansion in self._waiting if expansion not in served]
        return self._generate(served), None

    def stop(self, problem: str, error: str) -> None:
        raise AssertionError(f"the benchmark gives no budgets, but {problem} is stopped: {error}")

    def drop(self, problem: str, path: tuple[int, ...]) -> None:
        """Nothing is kept between calls."""

    def kv_tokens(self, problem: str, paths: Sequence[tuple[int, ...]]) -> int:
        raise AssertionError(f"tree of thoughts does not ask for it, but did for {problem} {paths}")

    def end_problem(self, problem: str) -> int:
        self._waiting = [expansion for expansion in self._waiting if expansion.problem != problem]
        return 0

    def _generate(self, served: Sequence[Expansion]) -> list[Decoded]:
        """Decode expansions of equally many children; what went on after its own end or limit is cut."""
        prompts = [self.model.encode(expansion.prompt)[0] for expansion in served]
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(tokens)) + tokens for tokens in prompts])
        mask = torch.tensor([[0] * (longest - len(tokens)) + [1] * len(tokens) for tokens in prompts])
        num_children, sampling = len(served[0].children), served[0].sampling
        how: dict[str, Any] = {"do_sample": False}
        if sampling.temperature:
            how = {"do_sample": True, **asdict(sampling)}
            how["num_return_sequences"] = num_children
        else:  # refuses several sequences of a greedy search
            ids, mask = (x.repeat_interleave(num_children, dim=0) for x in (ids, mask))
        out = self._network.generate(  # type: ignore[operator]
            ids,
            attention_mask=mask,
            max_new_tokens=max(expansion.prompt.max_tokens for expansion in served),
            eos_token_id=list(self.model.eos_ids),
            pad_token_id=0,
            **how,
        )
        self.num_calls += 1
        rows = iter(out[:, longest:].tolist())
        return [
            self._decoded(expansion, path, next(rows), prompt_tokens=len(prompts[i]))
            for i, expansion in enumerate(served)
            for path in expansion.children
        ]

    def _decoded(self, expansion: Expansion, path: tuple[int, ...], row: list[int], prompt_tokens: int) -> Decoded:
        row = row[: expansion.prompt.max_tokens]
        end = next((i for i, token in enumerate(row) if token in self.model.eos_ids), len(row))
        cost = Cost(tokens_prefilled=prompt_tokens, tokens_decoded=min(end + 1, len(row)))
        return Decoded(expansion.problem, path, self.model.decode(row[:end]), 0.0, cost)


def _kind(expansion: Expansion) -> tuple[int, Sampling]:
    """What the expansions of one call must have in common."""
    return len(expansion.children), expansion.sampling


@dataclass(frozen=True)
class Run:
    """One search over all problems. calls: model calls or `generate` calls; answers by problem."""

    seconds: float
    solved: int
    tokens_decoded: int
    calls: int
    answers: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What every side searches."""

    length: int
    problems: int
    parallel_problems: int
    temperature: float


def search_once(engine: Decoder, scoring: Scoring, case: Case) -> Run:
    """Run the search once. The seconds are the runner's alone: nothing is loaded within them."""
    task = Sorting(length=case.length, limit=case.problems)
    problems = task.problems(seed=0)
    seen: list[events.Event] = []
    runner = Runner(
        engine=engine,
        scoring=scoring,
        task=task,
        search=SEARCH,
        sampling=Sampling(case.temperature),
        parallel_problems=case.parallel_problems,
        emit=seen.append,
    )
    begin = time.perf_counter()
    runner.run(problems)
    seconds = time.perf_counter() - begin
    done = [event for event in seen if isinstance(event, events.ProblemDone)]
    calls = engine.num_calls if isinstance(engine, GenerateEngine) else 0
    return Run(
        seconds=seconds,
        solved=sum(event.solved for event in done),
        tokens_decoded=sum(event.tokens_decoded for event in done),
        calls=calls or sum(isinstance(event, events.StepDone) for event in seen),
        answers={event.problem: event.answer for event in done},
    )


def sides() -> dict[str, Callable[[], Decoder]]:
    """A fresh engine of every side; the loaded models are shared by all of a side's runs."""
    model = load_model("embedded", style="embedded", dtype="float32")
    auto: Any = AutoModelForCausalLM
    network = auto.from_pretrained(EMBEDDED, dtype=torch.float32, attn_implementation="sdpa")
    network.train(False)
    return {
        "tree": lambda: Engine(model, seed=0, max_branches=1024, prefill_tokens=2048, kv_tokens=64 * 1024),
        "generate_per_call": lambda: GenerateEngine(network, model, batched=False),
        "generate_batched": lambda: GenerateEngine(network, model, batched=True),
    }


def compare(found: dict[str, Callable[[], Decoder]], case: Case, repeats: int) -> dict[str, Any]:
    """Seconds, ratios to the tree and solved problems of every side over `repeats` rounds of one run each."""
    runs: dict[str, list[Run]] = {name: [] for name in found}
    with Scoring(scorer_reference(None, Sorting()), 10.0, load) as scoring:
        for make in found.values():
            search_once(make(), scoring, Case(8, 2, 2, case.temperature))
        for _ in range(repeats):
            for name, make in found.items():
                runs[name].append(search_once(make(), scoring, case))
    rows: dict[str, Any] = {}
    for name, of_side in runs.items():
        over_tree = [run.seconds / tree.seconds for run, tree in zip(of_side, runs["tree"], strict=True)]
        rows[name] = {
            "seconds": spread([run.seconds for run in of_side]),
            "over_tree": spread(over_tree),
            "solved": [run.solved for run in of_side],
            "tokens_decoded": [run.tokens_decoded for run in of_side],
            "calls": [run.calls for run in of_side],
        }
        seconds = " ".join(f"{rows[name]['seconds'][of]:7.2f}" for of in ("min", "median", "max"))
        ratio = " ".join(f"{rows[name]['over_tree'][of]:7.2f}" for of in ("min", "median", "max"))
        solved = "/".join(map(str, rows[name]["solved"]))
        print(f"{name:18} {seconds}   {ratio}   {solved:>10} of {case.problems}   {of_side[-1].calls:6}", flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=64, help="digits in a list")
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--parallel-problems", type=int, default=100, help="problems in flight")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    args = parser.parse_args(arguments)

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)  # `generate` draws from the global generator
    case = Case(args.length, args.problems, args.parallel_problems, args.temperature)
    versions = {name: version(name) for name in PACKAGES}
    print(f"# {args.problems} lists of {args.length} digits, {args.threads} threads, {SEARCH}; {versions}")
    print(f"{'side':18} {'min s':>7} {'median':>7} {'max':>7}   {'times the tree':>23}   {'solved':>16}   {'calls':>6}")
    rows = compare(sides(), case, args.repeats)
    result = {
        **{f"tree_over_{peer}": rows[peer]["over_tree"]["median"] for peer in PEERS},
        "ratio": "seconds of the peer over seconds of the tree, median over pairs of neighbouring runs",
        "length": args.length,
        "problems": args.problems,
        "parallel_problems": args.parallel_problems,
        "temperature": args.temperature,
        "threads": args.threads,
        "repeats": args.repeats,
        "rows": rows,
    }
    finish("search", result, packages=PACKAGES, record=args.record)


if __name__ == "__main__":
    main()
