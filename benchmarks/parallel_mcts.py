"""Monte Carlo tree search with several leaves in flight, beside one leaf at a time.

    python -m benchmarks.parallel_mcts [--parallel 8] [--problems 4] [--in-flight 1] [--repeats 3] [--record]

One search (MCTS over lines of arithmetic, judged line by line), one engine, the shipped model; what differs is
`search.parallel`. More leaves in flight decode together in a step, and each is chosen with less knowledge. No score is
final, so rollouts are equally many, while tokens and solved problems may differ. The judge runs in this process. The
sides take turns; the ratio `one_over_several` is the seconds with one leaf over those with several, so more than 1 is
better for several; its spread is over pairs of neighbouring runs. The last line is JSON.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP (docs/log.md)

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.record import finish, spread, version
from treereason import events
from treereason.config.scorers import scorer_reference
from treereason.config.user_files import load
from treereason.controller.runner import Runner
from treereason.core import Sampling, Thought
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.load import load_model
from treereason.scoring.process import Scoring
from treereason.search.mcts import MCTS
from treereason.tasks.few_shot import FewShot
from treereason.tasks.steps_hold import steps_hold

PACKAGES = ("torch", "transformers")


def steps_right(thought: Thought) -> float:
    """The share of right lines; never final, so that a search goes on to its last rollout."""
    return steps_hold(thought).value


@dataclass(frozen=True)
class Run:
    """One search over all problems."""

    seconds: float
    cpu_seconds: float
    solved: int
    tokens_decoded: int
    steps: int


@dataclass(frozen=True)
class Case:
    """What both sides search."""

    operations: int
    problems: int
    in_flight: int
    n_iters: int
    temperature: float


def search_once(model: LanguageModel, scoring: Scoring, case: Case, parallel: int) -> Run:
    """Run the search once. The seconds are the runner's alone: nothing is loaded within them."""
    task = FewShot(operations=case.operations, stepwise=True, limit=case.problems)
    problems = task.problems(seed=0)
    seen: list[events.Event] = []
    runner = Runner(
        engine=Engine(model, seed=0, max_branches=256, prefill_tokens=2048, kv_tokens=64 * 1024),
        scoring=scoring,
        task=task,
        search=MCTS(n_iters=case.n_iters, parallel=parallel),
        sampling=Sampling(case.temperature),
        parallel_problems=case.in_flight,
        emit=seen.append,
        scorer="steps_right",
        inline_scorer=steps_right,
    )
    begin, cpu = time.perf_counter(), time.process_time()
    runner.run(problems)
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    done = [event for event in seen if isinstance(event, events.ProblemDone)]
    return Run(
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        solved=sum(event.solved for event in done),
        tokens_decoded=sum(event.tokens_decoded for event in done),
        steps=sum(isinstance(event, events.StepDone) for event in seen),
    )


def compare(model: LanguageModel, case: Case, parallel: int, repeats: int) -> dict[str, Any]:
    """Figures of both sides, and their ratios, over `repeats` rounds of one run each."""
    sides = {"one": 1, "several": parallel}
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    with Scoring(scorer_reference(None, FewShot()), 10.0, load) as scoring:
        for leaves in sides.values():
            search_once(model, scoring, Case(2, 2, 2, 2, case.temperature), leaves)
        for _ in range(repeats):
            for name, leaves in sides.items():
                runs[name].append(search_once(model, scoring, case, leaves))
    rows: dict[str, Any] = {}
    for name, of_side in runs.items():
        rows[name] = {
            "parallel": sides[name],
            "seconds": spread([run.seconds for run in of_side]),
            "cpu_seconds": spread([run.cpu_seconds for run in of_side]),
            "solved": of_side[-1].solved,
            "tokens_decoded": of_side[-1].tokens_decoded,
            "steps": of_side[-1].steps,
        }
        wall, cpu = (
            " ".join(f"{rows[name][of][which]:7.2f}" for which in ("min", "median", "max"))
            for of in ("seconds", "cpu_seconds")
        )
        last = of_side[-1]
        print(f"{sides[name]:8} {wall}   {cpu}   {last.solved:6} {last.tokens_decoded:8,} {last.steps:7,}", flush=True)
    pairs = list(zip(runs["one"], runs["several"], strict=True))
    rows["one_over_several"] = spread([one.seconds / several.seconds for one, several in pairs])
    rows["one_over_several_cpu"] = spread([one.cpu_seconds / several.cpu_seconds for one, several in pairs])
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parallel", type=int, default=8, help="leaves in flight of the second side")
    parser.add_argument("--operations", type=int, default=8, help="operations in a question")
    parser.add_argument("--problems", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=1, help="problems in flight")
    parser.add_argument("--n-iters", type=int, default=16, help="rollouts of a problem")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    args = parser.parse_args(arguments)

    torch.set_num_threads(args.threads)
    case = Case(args.operations, args.problems, args.in_flight, args.n_iters, args.temperature)
    print(f"# {case}, {args.threads} threads; { {name: version(name) for name in PACKAGES} }")
    heads = f"{'min s':>7} {'median':>7} {'max':>7}   {'CPU s':>23}   {'solved':>6} {'tokens':>8} {'steps':>7}"
    print(f"{'parallel':>8} {heads}")
    rows = compare(load_model("embedded", style="embedded", dtype="float32"), case, args.parallel, args.repeats)
    result = {
        "one_over_several": rows["one_over_several"]["median"],
        "ratio": "seconds with one leaf over seconds with several, median over pairs of neighbouring runs",
        "parallel": args.parallel,
        "operations": args.operations,
        "problems": args.problems,
        "in_flight": args.in_flight,
        "n_iters": args.n_iters,
        "temperature": args.temperature,
        "threads": args.threads,
        "repeats": args.repeats,
        "rows": rows,
    }
    finish("parallel_mcts", result, packages=PACKAGES, record=args.record)


if __name__ == "__main__":
    main()
