"""Every task in an easy setting on a model that chats: one sample, greedy, self-consistency, tree of thoughts.

    python -m benchmarks.real_models --model FOLDER [--name NAME] [--task sorting] [--problems 24] [--record]
    python -m benchmarks.real_models --table    # the recorded rows as Markdown

One row of JSON a task and search: what it solves and scores, tokens, what ended its texts, and how many completions
are empty or give no answer that can be read.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP (docs/log.md)

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import treereason as tr
from benchmarks import record
from treereason.core import Finish, Search, Task, Thought
from treereason.engine.model.language_model import LanguageModel

NAME = "real_models"
PACKAGES = ("torch", "transformers")
SEED = 0

TASKS: Mapping[str, Callable[[int], Task]] = {
    "sorting": lambda limit: tr.tasks.Sorting(length=4, limit=limit),
    "set_intersection": lambda limit: tr.tasks.SetIntersection(size=3, limit=limit),
    "keyword_counting": lambda limit: tr.tasks.KeywordCounting(sentences=1, limit=limit),
    "document_merging": lambda limit: tr.tasks.DocumentMerging(documents=2, limit=limit),
    "arithmetic": lambda limit: tr.tasks.Arithmetic(operations=1, limit=limit),
    "few_shot": lambda limit: tr.tasks.FewShot(operations=1, examples=8, limit=limit),
    "choices": lambda limit: tr.tasks.Choices(operations=1, limit=limit),
    "game_of_24": lambda limit: tr.tasks.GameOf24(numbers=3, limit=limit),
}
SETTINGS = {
    "sorting": "4 digits",
    "set_intersection": "two sets of 3 numbers",
    "keyword_counting": "one sentence",
    "document_merging": "2 documents",
    "arithmetic": "one operation, step by step",
    "few_shot": "one operation, 8 examples",
    "choices": "one operation, 4 options",
    "game_of_24": "3 numbers",
}
SEARCHES: Mapping[str, tuple[Search, float]] = {
    "single_sample": (tr.search.SingleSample(), 0.7),
    "greedy": (tr.search.SingleSample(), 0.0),
    "self_consistency": (tr.search.SelfConsistency(n=5), 0.7),
    "tree_of_thoughts": (tr.search.TreeOfThoughts(k=5, b=1, steps=2), 0.7),
}
"""Each with its temperature."""
LONGER = {"game_of_24": 3}
"""Steps of tree of thoughts down to an answer, where that takes more: two operations and the expression."""


def row(task: str, search: str, model: LanguageModel, problems: int, seed: int = SEED) -> dict[str, Any]:
    """What is recorded of one search on one task."""
    made, (how, temperature) = TASKS[task](problems), SEARCHES[search]
    if task in LONGER and isinstance(how, tr.search.TreeOfThoughts):
        how = replace(how, steps=LONGER[task])
    begin = time.process_time()
    run = tr.run(made, how, model, seed=seed, temperature=temperature, baseline="none", threads=1)
    whole = [thought for problem in run.problems for thought in problem.thoughts if _whole(made, thought, model.style)]
    return {
        "task": task,
        "search": search,
        "options": repr(how),
        "temperature": temperature,
        "seed": seed,
        "problems": len(run.problems),
        "solved": run.solved,
        "mean_score": None if run.mean_score is None else round(run.mean_score, 3),
        "guided_by": run.summary["guided_by"],
        "guided_by_basis": run.summary["guided_by_basis"],
        "tokens": round(run.summary["tokens_decoded"] / len(run.problems), 1),
        "finishes": run.summary["finishes"],
        "completions": len(whole),
        "empty": sum(not thought.text.strip() and thought.answer is None for thought in whole),
        "unreadable": sum(bool(thought.text.strip()) and thought.answer is None for thought in whole),
        "cpu_seconds": round(time.process_time() - begin, 1),
    }


def _whole(task: Task, thought: Thought, style: str) -> bool:
    """Whether the model wrote the thought, and nothing is to follow it before an answer."""
    if thought.finish is None or thought.finish is Finish.GIVEN:
        return False
    follows = task.prompt(thought, style) if thought.answer is None else None
    return follows is None or not follows.appended


def recorded_table() -> str:
    """The newest row of each task and search as a table: solved, and in brackets the mean score where it tells more."""
    lines = [
        "| task | search | solved | mean score | tokens | ended by the model, a stop, the limit | empty | unreadable |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in recorded().items():
        for i, found in enumerate(rows.values()):
            score, ends = found["mean_score"], found["finishes"]
            cells = (
                f"`{name}`, {SETTINGS[name]}" if i == 0 else "",
                found["search"].replace("_", " ") + (" (oracle)" if "oracle" in found["guided_by_basis"] else ""),
                f"{found['solved']} of {found['problems']}",
                "" if score is None else f"{score:.2f}",
                f"{found['tokens']:,.0f}",
                f"{ends['end']}, {ends['stop']}, {ends['length']}",
                f"{found['empty']} of {found['completions']}",
                f"{found['unreadable']} of {found['completions']}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def recorded() -> dict[str, dict[str, dict[str, Any]]]:
    """The newest row by task and search, in the order of TASKS and SEARCHES."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for line in (record.RESULTS / f"{NAME}.jsonl").read_text(encoding="utf-8").splitlines():
        read = json.loads(line)
        found.setdefault(read["task"], {})[read["search"]] = read
    return {
        task: {search: found[task][search] for search in SEARCHES if search in found[task]}
        for task in TASKS
        if task in found
    }


def main(arguments: Sequence[str] | None = None) -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder or hub id of an instruction model of transformers")
    parser.add_argument("--name", help="what the rows call it; by default the last part of --model")
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--search", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    parser.add_argument("--problems", type=int, default=24)
    parser.add_argument("--record", action="store_true", help="append the rows to benchmarks/results/")
    parser.add_argument("--table", action="store_true", help="print the recorded rows as Markdown and stop")
    given = parser.parse_args(arguments)
    if given.table:
        print(recorded_table())
        return
    if not given.model:
        parser.error("say which model with --model")
    model = tr.load(given.model)
    for task in given.task:
        for search in given.search:
            measured = {"model": given.name or Path(given.model).name, "dtype": str(model.dtype).removeprefix("torch.")}
            finished = {**measured, **row(task, search, model, given.problems)}
            record.finish(NAME, finished, packages=PACKAGES, record=given.record)


if __name__ == "__main__":
    main()
