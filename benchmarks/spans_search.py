"""Searches over named lines with spans, beside a model that was trained and decoded with full attention.

    python -m benchmarks.spans_search --model embedded_spans --record
    python -m benchmarks.spans_search --model RUN --record     # a folder that tools.spans_model.train has left
    python -m benchmarks.spans_accuracy --page                # docs/spans-accuracy.md from the recorded rows

Each model decodes as it was trained. One row of JSON a search: solved, decoded tokens a problem, and the KV tokens that
decoding reads, as the summary tells them. Thoughts of tree of thoughts are lines, pruned by a judge of steps.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP (docs/log.md)

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

import treereason as tr
from benchmarks.proportion import proportion
from benchmarks.record import finish
from benchmarks.spans_accuracy import TASKS, load
from treereason.core import Search
from treereason.engine.model.language_model import LanguageModel

NAME = "spans_search"
PACKAGES = ("torch", "transformers")


class Setting(NamedTuple):
    """A search with its scorer; whole: a thought is a whole solution."""

    search: Search
    scorer: str
    temperature: float
    whole: bool = True


def settings(operations: int) -> dict[str, Setting]:
    """What is compared. Trees have as many steps as a solution has lines."""
    tree = tr.search.TreeOfThoughts(k=3, b=2, steps=operations)
    return {
        "greedy": Setting(tr.search.SingleSample(), "exact_match", 0.0),
        "one sample": Setting(tr.search.SingleSample(), "exact_match", 0.7),
        "self-consistency, 8": Setting(tr.search.SelfConsistency(n=8), "exact_match", 0.7),
        "tree of thoughts, lines_hold (oracle)": Setting(tree, "lines_hold", 0.7, whole=False),
        "tree of thoughts, likelihood (label-free)": Setting(tree, "likelihood", 0.7, whole=False),
    }


def measure(model: LanguageModel, view: str, setting: Setting, operations: int, problems: int) -> dict[str, Any]:
    """Solved with a 95% interval, tokens a problem, and KV tokens read."""
    task = TASKS[view](operations=operations, limit=problems, stepwise=not setting.whole)
    run = tr.run(
        task,
        setting.search,
        model,
        seed=0,
        temperature=setting.temperature,
        scorer=setting.scorer,
        baseline="none",
        threads=1,
    )
    reads = {name: value for name, value in run.summary.items() if name.startswith("kv_tokens_read")}
    return {
        **proportion(run.solved, problems),
        "tokens": round(run.summary["tokens_decoded"] / problems, 1),
        "guided_by_basis": run.summary["guided_by_basis"],
        "thoughts_failed": run.summary["thoughts_failed"],
        "seconds": round(run.summary["seconds"], 1),
        **reads,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="embedded_spans, or a folder of tools.spans_model.train")
    parser.add_argument("--operations", type=int, nargs="+", default=(12, 24))
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, training = load(args.model)
    trained = "spans" if training["mask"] == "spans" else "full attention"
    view = "spans" if training["mask"] == "spans" else "everything"
    for operations in args.operations:
        for search, setting in settings(operations).items():
            row = {"training": training, "trained": trained, "operations": operations, "search": search}
            row |= measure(model, view, setting, operations, args.problems)
            finish(NAME, row, packages=PACKAGES, record=args.record)


if __name__ == "__main__":
    main()
