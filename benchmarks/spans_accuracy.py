"""How many named-line problems a model solves, with spans, reading everything, and blind to the lines it names.

    python -m benchmarks.spans_accuracy --model embedded_spans --record
    python -m benchmarks.spans_accuracy --model embedded_spans --view everything --view blind --record
    python -m benchmarks.spans_accuracy --model RUN --record     # a folder that tools.spans_model.train has left
    python -m benchmarks.spans_accuracy --page                   # docs/spans-accuracy.md from the recorded rows

Greedy answers of fresh problems, right when the final value is; a model of documents merges 2 to 4 of them instead. One
row of JSON an arm, view and size; the share of KV that a step reads is counted on the texts, of all steps together.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP (docs/log.md)

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import torch

import treereason as tr
from benchmarks.proportion import proportion
from benchmarks.record import finish
from benchmarks.spans_accuracy_page import write_page
from treereason.core import Thought
from treereason.core.spans import SpanGrammar, views
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.shipped import SHIPPED
from treereason.tasks.arithmetic_spans import ArithmeticSpans
from treereason.tasks.document_merging_spans import DocumentMergingSpans

NAME = "spans_accuracy"
PACKAGES = ("torch", "transformers")
SIZES = (4, 8, 12, 16, 24, 48, 96)


@dataclass(frozen=True)
class Everything(ArithmeticSpans):
    """The same text without spans: a token sees all before it."""

    spans: ClassVar[SpanGrammar | None] = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Blind(ArithmeticSpans):
    """Names open nothing: a token sees its own line."""

    spans: ClassVar[SpanGrammar] = SpanGrammar(labels=())


@dataclass(frozen=True)
class EverythingMerged(DocumentMergingSpans):
    """Labelled clauses without spans."""

    spans: ClassVar[SpanGrammar | None] = None  # type: ignore[assignment]


TASKS: dict[str, type[ArithmeticSpans]] = {"spans": ArithmeticSpans, "everything": Everything, "blind": Blind}
MERGING: dict[str, type[DocumentMergingSpans]] = {"spans": DocumentMergingSpans, "everything": EverythingMerged}
Task: TypeAlias = ArithmeticSpans | DocumentMergingSpans


def load(model: str) -> tuple[LanguageModel, dict[str, Any]]:
    """A shipped model by name, or a folder of `tools.spans_model.train`; and what its training.json tells."""
    if model in SHIPPED:
        loaded, told = tr.load(model), SHIPPED[model].folder / "training.json"
    else:
        loaded, told = tr.load(str(Path(model) / "model"), style="spans", cpu="torch"), Path(model) / "training.json"
    return loaded, json.loads(told.read_text())


def measure(model: LanguageModel, view: str, operations: int, problems: int) -> dict[str, Any]:
    """How many are solved, with a 95% interval, and the tokens that are read."""
    task = TASKS[view](operations=operations, limit=problems)
    return {"view": view, "operations": operations, **_measured(model, task, problems)}


def measure_merging(model: LanguageModel, view: str, documents: int, problems: int) -> dict[str, Any]:
    """The same for merged documents, with the mean score of merge_quality."""
    task = MERGING[view](documents=documents, limit=problems)
    return {"view": view, "documents": documents, **_measured(model, task, problems)}


def _measured(model: LanguageModel, task: Task, problems: int) -> dict[str, Any]:
    run = tr.run(task, tr.search.SingleSample(), model, seed=0, temperature=0.0, baseline="none", threads=1)
    assert not run.summary["thoughts_failed"]
    found = {**proportion(run.solved, problems), "tokens": round(run.summary["tokens_decoded"] / problems, 1)}
    score = sum(problem.score or 0.0 for problem in run.problems) / problems
    return found | {"score": round(score, 4)} | _reads(model, task, run)


def _reads(model: LanguageModel, task: Task, run: tr.Run) -> dict[str, float]:
    """KV tokens that a decode step reads of its path, itself included, and their share of the path."""
    policy = None if task.spans is None else task.spans.policy(model.encode_text)
    seen = whole = steps = 0
    for problem in run.problems:  # a row a token, but for what ends the text
        prompt = task.prompt(Thought(problem.problem), "spans")
        assert prompt is not None
        asked, _ = model.encode(prompt)
        ids = asked + model.encode_text(problem.thoughts[0].text)
        question = len(asked)
        whole += sum(range(question + 1, len(ids) + 1))
        steps += len(ids) - question
        if policy is None:
            continue
        for position, view in list(enumerate(views(policy, ids)))[question:]:
            seen += position + 1 - view.own + sum(last - first for first, last in view.earlier)
    seen = whole if policy is None else seen
    return {"kv_tokens_a_step": round(seen / max(steps, 1), 1), "kv_share": round(seen / max(whole, 1), 4)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="embedded_spans, or a folder of tools.spans_model.train")
    parser.add_argument("--view", choices=TASKS, action="append", help="by default what it was trained with")
    parser.add_argument("--operations", type=int, nargs="+", default=SIZES)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    parser.add_argument("--page", action="store_true", help="write docs/spans-accuracy.md, run nothing")
    args = parser.parse_args(arguments)
    if args.page:
        write_page()
        return
    if args.model is None:
        parser.error("give --model, or --page")
    torch.set_num_threads(1)
    model, training = load(args.model)
    trained = "spans" if training["mask"] == "spans" else "everything"
    if training["skill"] == "documents":
        for documents in (2, 3, 4):
            row = {"training": training, **measure_merging(model, trained, documents, args.problems)}
            finish("spans_merging", row, packages=PACKAGES, record=args.record)
        return
    for view in args.view or [trained]:
        for operations in args.operations:
            row = {"training": training, **measure(model, view, operations, args.problems)}
            finish(NAME, row, packages=PACKAGES, record=args.record)


if __name__ == "__main__":
    main()
