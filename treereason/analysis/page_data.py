"""What the page of a report draws its trees from: the thoughts of each run in columns, with bounded text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from treereason.analysis.recorded_problem import RecordedProblem, RecordedThought
from treereason.analysis.recorded_run import RecordedRun
from treereason.analysis.recorded_tree import RecordedTree
from treereason.core import Status
from treereason.display import formatting
from treereason.jsonable import jsonable
from treereason.text import printable, printable_lines

MOST_TEXT = 6_000_000
"""Bytes of thoughts' texts on a page, as JSON: one of 10,000 thoughts stays below 10 MB. Longer texts are cut."""
LONGEST_ANSWER = 120
STATUSES = list(Status)
ENDS = ["", "end", "stop", "length", "given"]


def page_data(runs: Sequence[RecordedRun], names: Sequence[str]) -> dict[str, Any]:
    """All that the script of the page reads."""
    most = _longest(_size(_text(each)) for run in runs for each in _thoughts(run))
    return {
        "statuses": [str(status) for status in STATUSES],
        "ends": ENDS,
        "runs": [
            {"name": name, "problems": [_problem(problem, most) for problem in run.problems.values()]}
            for name, run in zip(names, runs, strict=True)
        ],
    }


def _thoughts(run: RecordedRun) -> Iterable[RecordedThought]:
    return (thought for problem in run.problems.values() for thought in problem.thoughts.values())


def _longest(sizes: Iterable[int]) -> int:
    """The largest size to which texts can be cut so that all together have MOST_TEXT bytes at most."""
    left, ordered = MOST_TEXT, sorted(sizes)
    for i, size in enumerate(ordered):
        rest = len(ordered) - i
        if size * rest > left:
            return left // rest
        left -= size
    return MOST_TEXT


def _size(text: str) -> int:
    """Bytes of a text as the page holds it."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))


def _problem(problem: RecordedProblem, most: int) -> dict[str, Any]:
    tree = RecordedTree(problem)
    paths = [path for path in tree.children if path]
    place = {path: i for i, path in enumerate(paths)}
    thoughts = [problem.thoughts[path] for path in paths]
    done = problem.done
    return {
        "id": printable(problem.name, 80),
        "input": _cut(
            problem.input if isinstance(problem.input, str) else str(jsonable(problem.input)), max(most, 2000)
        ),
        "outcome": "open"
        if done is None
        else "failed"
        if done.status == "failed"
        else "solved"
        if done.solved
        else "no",
        "score": _rounded(done.score) if done is not None else None,
        "answer": None if done is None or done.answer is None else formatting.answer(done.answer, LONGEST_ANSWER),
        "error": printable(done.error) if done is not None and done.error else None,
        "tokens": problem.tokens,
        "best": place.get(tree.best, -1) if tree.best is not None else -1,
        "path": [path[len(tree.parent(path)) :] for path in paths],
        "parent": [place.get(tree.parent(path), -1) for path in paths],
        "joins": {
            place[thought.path]: [place[parent] for parent in thought.parents if parent in place]
            for thought in thoughts
            if len(thought.parents) > 1
        },
        "status": [STATUSES.index(thought.status) for thought in thoughts],
        "score_of": [_rounded(thought.score) for thought in thoughts],
        "scores": {
            place[thought.path]: {printable(by, 60): _rounded(value) for by, (value, _) in thought.scores.items()}
            for thought in thoughts
            if len(thought.scores) > 1
        },
        "tokens_of": [thought.tokens_decoded for thought in thoughts],
        "spent": [thought.spent for thought in thoughts],
        "end": [ENDS.index(thought.finish) if thought.finish in ENDS else 0 for thought in thoughts],
        "answer_of": [
            None if thought.answer is None else formatting.answer(thought.answer, LONGEST_ANSWER)
            for thought in thoughts
        ],
        "text": [_cut(_text(thought), most) for thought in thoughts],
    }


def _text(thought: RecordedThought) -> str:
    return thought.error or thought.text


def _cut(text: str, most: int) -> str:
    """The beginning of a text, of at most `most` bytes on the page, and how much is missing."""
    kept = text[:most]
    while (size := _size(kept)) > max(most, 2):
        kept = kept[: len(kept) * most // size]
    shown = printable_lines(kept)
    return shown if kept == text else f"{shown}\n… {len(text) - len(kept):,} more characters: treereason show has them"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
