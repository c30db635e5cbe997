"""Every search beside the baselines at equal decoded tokens, on three tasks of the shipped model.

    python -m benchmarks.equal_tokens --setting arithmetic [--search mcts] [--problems 100] [--seeds 5] [--record]
    python -m benchmarks.equal_tokens --table      # the recorded rows as Markdown
    python -m benchmarks.equal_tokens --summary    # one line a setting

Each search has one size, which is chosen on other problems so that it decodes about as many tokens a problem as the
setting asks for. Its outcomes are then compared with those of independent samples that took at least as many tokens:
the best scored one, the majority, the vote weighted by scores, and sampling until a score is final. The comparison is
paired by problem and seed, its 95% interval a bootstrap over the pairs. One row of JSON a search.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP (docs/log.md)

import argparse
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import torch

import treereason as tr
from benchmarks.baselines import BASELINES, Outcome, Pool
from benchmarks.bootstrap import interval
from benchmarks.equal_tokens_settings import SETTINGS, SIZES, Setting
from benchmarks.equal_tokens_table import recorded_summary, recorded_table
from benchmarks.record import finish
from treereason.core import Search
from treereason.engine.model.language_model import LanguageModel

NAME = "equal_tokens"
PACKAGES = ("torch", "transformers")
CALIBRATION_SEED = 1000
CALIBRATION_PROBLEMS = 20
LEAST_GROWTH = 1.05
"""A search whose tokens grow by less with the next size is taken to end by itself."""


class Bench:
    """Runs the searches of one setting, and compares them with samples that are drawn once for all of them."""

    def __init__(self, setting: Setting, model: LanguageModel, *, problems: int, seeds: int) -> None:
        self._setting = setting
        self._model = model
        self._problems = problems
        self._seeds = range(seeds)
        whole = tr.search.BestOfN(n=setting.pool)
        self._pools = [
            Pool(self._run(whole, seed, problems, whole=True).problems, setting.worth) for seed in self._seeds
        ]

    def row(self, search: str) -> dict[str, Any]:
        """What is recorded of a search."""
        made = self._sized(search)
        cpu, begin = time.process_time(), time.perf_counter()
        runs = [self._run(made, seed, self._problems) for seed in self._seeds]
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        return {
            **self._measured(runs),
            "options": repr(made),
            "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu, 1),
        }

    def baselines(self) -> dict[str, dict[str, Any]]:
        """Rows of one greedy answer and of one sample."""
        greedy = [
            self._run(tr.search.SingleSample(), seed, self._problems, whole=True, temperature=0.0)
            for seed in self._seeds
        ]
        single = [outcome for pool in self._pools for outcome in pool.single()]
        return {"greedy": self._measured(greedy), "single_sample": _described(single)}

    def _run(
        self, search: Search, seed: int, problems: int, *, whole: bool = False, temperature: float = 0.7
    ) -> tr.Run:
        task = self._setting.task(problems, whole)
        scorer = self._setting.scorer
        return tr.run(task, search, self._model, seed=seed, temperature=temperature, scorer=scorer, baseline="none")

    def _sized(self, search: str) -> Search:
        """The search in the size in which it decodes as nearly as many tokens as the setting asks for."""
        make, nearest, before = self._setting.searches[search], (math.inf, SIZES[0]), 0.0
        for size in SIZES:
            run = self._run(make(size), CALIBRATION_SEED, CALIBRATION_PROBLEMS)
            tokens = run.summary["tokens_decoded"] / len(run.problems)
            nearest = min(nearest, (abs(math.log(max(tokens, 1) / self._setting.tokens)), size))
            if tokens >= self._setting.tokens or tokens < LEAST_GROWTH * before:  # the second ends by itself before
                break
            before = tokens
        return make(nearest[1])

    def _measured(self, runs: Sequence[tr.Run]) -> dict[str, Any]:
        outcomes = [
            [Outcome(self._setting.worth(problem, problem.answer), problem.tokens_decoded) for problem in run.problems]
            for run in runs
        ]
        flat = [outcome for of_seed in outcomes for outcome in of_seed]
        computed, reused = (_total(runs, name) for name in ("tokens_prefilled", "tokens_reused"))
        return {
            **_described(flat),
            "against": self._against(flat),
            "kv_tokens_peak": round(fmean(problem.kv_tokens_peak for run in runs for problem in run.problems)),
            "kv_read_ratio": round(_total(runs, "kv_tokens_read_sequence") / _total(runs, "kv_tokens_read_tree"), 2),
            "prompt_tokens_reused": round(reused / (computed + reused), 3),
            "guided_by": sorted({name for run in runs for name in run.summary["guided_by"]}),
            "guided_by_basis": sorted({basis for run in runs for basis in run.summary["guided_by_basis"]}),
            "thoughts_failed": _total(runs, "thoughts_failed"),
        }

    def _against(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """The baselines at no fewer tokens than these outcomes took, and by how much the outcomes are better."""
        tokens = fmean(outcome.tokens for outcome in outcomes)
        found = {}
        curves: dict[str, Callable[[Pool, int], list[Outcome]]] = {
            name: partial(Pool.chosen, choose=choose) for name, choose in BASELINES.items()
        }
        if self._setting.has_final:
            curves["sample_until"] = Pool.until_final
        for name, curve in curves.items():
            n, others = _at_tokens(self._pools, curve, tokens)
            gains = [own.value - other.value for own, other in zip(outcomes, others, strict=True)]
            low, high = interval(gains)
            found[name] = {
                **_described(others),
                "n": n,
                "gain": round(fmean(gains), 4),
                "gain_interval": [round(low, 4), round(high, 4)],
            }
        return found


def _at_tokens(
    pools: Sequence[Pool], curve: Callable[[Pool, int], list[Outcome]], tokens: float
) -> tuple[int, list[Outcome]]:
    """The smallest n whose outcomes took at least `tokens` a problem on average, the whole pool where none did."""
    low, high = 1, min(pool.size for pool in pools)
    while low < high:
        middle = (low + high) // 2
        if fmean(outcome.tokens for pool in pools for outcome in curve(pool, middle)) >= tokens:
            high = middle
        else:
            low = middle + 1
    return low, [outcome for pool in pools for outcome in curve(pool, low)]


def _described(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    low, high = interval([outcome.value for outcome in outcomes])
    return {
        "value": round(fmean(outcome.value for outcome in outcomes), 4),
        "interval": [round(low, 4), round(high, 4)],
        "tokens": round(fmean(outcome.tokens for outcome in outcomes), 1),
    }


def _total(runs: Sequence[tr.Run], name: str) -> int:
    return sum(run.summary[name] for run in runs)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", choices=SETTINGS, action="append", help="all of them by default")
    parser.add_argument("--search", action="append", help="all of the setting's by default")
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    parser.add_argument("--table", action="store_true", help="print the recorded rows as Markdown, run nothing")
    parser.add_argument("--summary", action="store_true", help="the same, one line a setting")
    args = parser.parse_args(arguments)
    if args.table or args.summary:
        print((recorded_table() if args.table else recorded_summary()) or "nothing is recorded: add --record to a run")
        return

    torch.set_num_threads(args.threads)
    model = tr.load("embedded")
    for name in args.setting or SETTINGS:
        setting = SETTINGS[name]
        bench = Bench(setting, model, problems=args.problems, seeds=args.seeds)
        about = {
            "setting": name,
            "guidance": setting.guidance,
            "unit": setting.unit,
            "problems": args.problems,
            "seeds": args.seeds,
            "threads": args.threads,
        }
        for search, row in bench.baselines().items():
            finish(NAME, {**about, "search": search, **row}, packages=PACKAGES, record=args.record)
        for search in args.search or setting.searches:
            finish(NAME, {**about, "search": search, **bench.row(search)}, packages=PACKAGES, record=args.record)


if __name__ == "__main__":
    main()
