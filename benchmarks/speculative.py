"""Whole searches with speculative decoding and without, on text that is revised: what it gains, and what it costs.

    python -m benchmarks.speculative --model FOLDER [--task sorting] [--branches 1] [--temperature 0] [--record]
    python -m benchmarks.speculative --table

Sides run in one process and take turns; a row tells whether their results are the same. The scorer runs beside the
search, so that seconds are the runner's alone. One row of JSON a setting.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP (docs/log.md)

import argparse
import gc
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

import treereason as tr
from benchmarks.bootstrap import interval
from benchmarks.record import RESULTS, finish, spread
from treereason import events
from treereason.config.scorers import scorer_reference
from treereason.config.user_files import load as load_reference
from treereason.controller.budget import Budget
from treereason.controller.runner import Runner
from treereason.core import Sampling, Search, Task
from treereason.engine.engine import PAGE_SIZE, Engine
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.load import load_model
from treereason.engine.speculation.drafter import Drafter
from treereason.engine.speculation.model_drafts import ModelDrafts
from treereason.engine.speculation.row_budget import RowBudget
from treereason.engine.speculation.sibling_drafts import SiblingDrafts
from treereason.record.results import line
from treereason.scoring.process import Scoring

PACKAGES = ("torch", "transformers")
KV_TOKENS = 64 * 1024
MODES = ("none", "auto", "siblings", "model", "model_own_noise")
Drafting = tuple[Drafter | None, RowBudget | None]


@dataclass(frozen=True)
class Setting:
    """problems: all in flight at once, of which `branches` decode together. tokens: that each may decode."""

    task: str
    branches: int
    temperature: float
    problems: int
    tokens: int

    def made(self, style: str) -> tuple[Task, Search]:
        if self.task == "sorting":
            return tr.tasks.Sorting(length=16, limit=self.problems), tr.search.Refine()
        if self.task == "arithmetic":
            return tr.tasks.Arithmetic(operations=6, limit=self.problems), tr.search.BestOfN(n=4)
        search = tr.search.BestOfN(n=2) if style == "embedded" else tr.search.Refine()
        return tr.tasks.DocumentMerging(documents=2, limit=self.problems), search


@dataclass(frozen=True)
class Run:
    """What one side did. decode_seconds: of steps without prompts. rows: computed to decode, those of drafts included.
    results: as in results.jsonl.
    """

    seconds: float
    decode_seconds: float
    cpu_seconds: float
    tokens: int
    steps: int
    branch_steps: int
    speculative: dict[str, Any]
    results: list[str]


def drafting(mode: str, depth: int, small: LanguageModel | None) -> Drafting:
    """Who proposes, made anew for each run. model_own_noise: the small model draws with noise of its own."""
    if mode == "none":
        return None, None
    if mode.startswith("model"):
        assert small is not None, "give --draft"
        shared = mode == "model"
        return ModelDrafts(small, depth=depth, kv_tokens=KV_TOKENS, page_size=PAGE_SIZE, shared_noise=shared), None
    return SiblingDrafts(depth), RowBudget() if mode == "auto" else None


def run_once(model: LanguageModel, setting: Setting, drafts: Drafting, scorer: Callable[..., Any]) -> Run:
    """Run the search once. Nothing is loaded within the seconds."""
    task, search = setting.made(model.style)
    drafter, budget = drafts
    engine = Engine(model, max_branches=setting.branches, kv_tokens=KV_TOKENS, drafter=drafter, row_budget=budget)
    problems = task.problems(seed=0)
    seen: list[events.Event] = []
    with Scoring("", 10.0, load_reference, start=False) as scoring:
        runner = Runner(
            engine=engine,
            scoring=scoring,
            task=task,
            search=search,
            sampling=Sampling(setting.temperature),
            parallel_problems=setting.problems,
            emit=seen.append,
            scorer=task.scorer,
            inline_scorer=scorer,
            budget=lambda: Budget(setting.tokens, None),
        )
        begin, cpu = time.perf_counter(), time.process_time()
        runner.run(problems)
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    steps = [event for event in seen if isinstance(event, events.StepDone)]
    return Run(
        seconds=seconds,
        decode_seconds=sum(step.seconds for step in steps if not step.tokens_prefilled),
        cpu_seconds=cpu_seconds,
        tokens=sum(step.tokens_decoded for step in steps),
        steps=len(steps),
        branch_steps=sum(step.num_branches for step in steps),
        speculative=engine.speculation.report() if engine.speculation else {"rows": 0},
        results=sorted(line(shared_out(event)) for event in seen if isinstance(event, events.ProblemDone)),
    )


def shared_out(done: events.ProblemDone) -> events.ProblemDone:
    """Without who has computed a prefix that all problems share: the first one that needs it."""
    return replace(done, tokens_prefilled=done.tokens_prefilled + done.tokens_reused, tokens_reused=0)


def compare(
    model: LanguageModel, setting: Setting, makes: Mapping[str, Callable[[], Drafting]], repeats: int
) -> dict[str, Any]:
    """Figures of all sides, the plain one first, and how often that one takes each one's seconds."""
    task, _ = setting.made(model.style)
    scorer: Callable[..., Any] = load_reference(scorer_reference(None, task))
    modes = list(makes)
    runs: dict[str, list[Run]] = {mode: [] for mode in modes}
    chance = random.Random(0)
    for _ in range(repeats):
        for mode in chance.sample(modes, len(modes)):  # none always behind the same one, whose memory is freed then
            gc.collect()
            runs[mode].append(run_once(model, setting, makes[mode](), scorer))
    rows: dict[str, Any] = {}
    plain = runs[modes[0]]
    for mode, of_side in runs.items():
        last = of_side[-1]
        pairs = list(zip(plain, of_side, strict=True))
        ratios = [off.seconds / on.seconds for off, on in pairs]
        rows[mode] = {
            "seconds": spread([run.seconds for run in of_side]),
            "off_over_on": spread(ratios),
            "off_over_on_interval": [round(end, 4) for end in interval(ratios, of=np.median)],
            "off_over_on_cpu": spread([off.cpu_seconds / on.cpu_seconds for off, on in pairs]),
            "off_over_on_decode": spread([off.decode_seconds / on.decode_seconds for off, on in pairs]),
            "same_results": last.results == plain[-1].results,
            "tokens": last.tokens,
            "steps": last.steps,
            "tokens_per_branch_and_step": round(last.tokens / last.branch_steps, 3),
            "rows_per_token": round((last.branch_steps + last.speculative["rows"]) / last.tokens, 3),
            "speculative": last.speculative,
        }
    return rows


def recorded_table() -> str:
    """The newest row of each setting of two threads as Markdown: seconds without over seconds with, by side."""
    lines = (RESULTS / "speculative.jsonl").read_text().splitlines()
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in map(json.loads, lines):
        if row["threads"] == 2 and row["depth"] == 8 and "off_over_on_interval" in row["rows"]["none"]:
            newest[row["model"], row["task"], row["temperature"], row["branches"]] = row
    table = [
        "| model | task | temperature | branches | `auto` | `siblings` | decode steps alone | tokens a branch and step "
        "| rows a token | turns |",
        "|" + "---|" * 10,
    ]
    for (model, task, temperature, branches), row in sorted(newest.items()):
        sides = row["rows"]
        most = sides["siblings" if "siblings" in sides else "auto"]
        decode = most["off_over_on_decode"]["median"]
        table.append(
            f"| {model}, {row['dtype']} | {task.replace('_', ' ')} | {temperature:g} | {branches} | "
            f"{_told(sides.get('auto'))} | {_told(sides.get('siblings'))} | {decode:.2f}x | "
            f"{most['tokens_per_branch_and_step']:.2f} | {most['rows_per_token']:.2f} | {row['repeats']} |"
        )
    return "\n".join(table)


def _told(side: Mapping[str, Any] | None) -> str:
    if side is None:
        return "-"
    low, high = side["off_over_on_interval"]
    return f"{side['off_over_on']['median']:.2f}x ({low:.2f} to {high:.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--task", choices=("sorting", "document_merging", "arithmetic"), nargs="+", default=["sorting"])
    parser.add_argument("--branches", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.0, 0.7])
    parser.add_argument("--problems", type=int, default=0, help="as many as branches by default, two at least")
    parser.add_argument("--tokens", type=int, default=200, help="that a problem may decode")
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--mode", choices=MODES[1:], nargs="+", default=["auto"])
    parser.add_argument("--draft", default=None, help="folder of a small model, for the modes that are called so")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    parser.add_argument("--table", action="store_true", help="print the recorded rows as Markdown and stop")
    args = parser.parse_args(arguments)
    if args.table:
        print(recorded_table())
        return

    torch.set_num_threads(args.threads)
    model = tr.load(args.model, dtype=args.dtype)
    assert isinstance(model, LanguageModel)
    small = load_model(args.draft, style=model.style) if args.draft else None
    for task in args.task:
        for branches in args.branches:
            for temperature in args.temperature:
                setting = Setting(task, branches, temperature, args.problems or max(2, branches), args.tokens)
                makes = {mode: partial(drafting, mode, args.depth, small) for mode in ["none", *args.mode]}
                rows = compare(model, setting, makes, args.repeats)
                measured = {
                    "model": "SmolLM2-135M-Instruct" if "smollm2" in args.model else args.model,
                    "dtype": str(model.dtype).removeprefix("torch."),
                    **asdict(setting),
                    "depth": args.depth,
                    "threads": args.threads,
                    "repeats": args.repeats,
                    "rows": rows,
                }
                finish("speculative", measured, packages=PACKAGES, record=args.record, show=not args.record)
                told = {mode: {**row, "speculative": None} for mode, row in rows.items() if mode != "none"}
                print(json.dumps(told))


if __name__ == "__main__":
    main()
