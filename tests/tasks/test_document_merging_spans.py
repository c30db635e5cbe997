"""Merging labelled clauses: heads see everything, bodies the named clause."""

from __future__ import annotations

import re

from treereason.core import Finish, Problem, Thought
from treereason.core.spans import visible
from treereason.tasks.document_merging_spans import DocumentMergingSpans
from treereason.tasks.merge_scorers import merge_quality

PROBLEM = Problem("0", ["A pays B; C audits D;", "C audits D;"], ["A pays B", "C audits D"])
TASK = DocumentMergingSpans()


def written(text: str, finish: Finish = Finish.END) -> Thought:
    thought = Thought(PROBLEM, (0,), (Thought(PROBLEM),), text, finish=finish)
    thought.answer = TASK.parse(thought)
    return thought


def test_a_merge_is_solved_when_each_clause_is_there_once() -> None:
    right, twice = written("a1= C audits D\na0= A pays B"), written("a0= A pays B\na1= C audits D\na2= C audits D")
    assert TASK.solved(PROBLEM, right.answer)
    assert merge_quality(right).final
    assert not TASK.solved(PROBLEM, twice.answer)
    assert 0 < merge_quality(twice).value < 1
    assert written("nothing").answer is None
    assert written("a0= A pays B", Finish.LENGTH).answer is None


def test_heads_see_everything_and_bodies_their_clause() -> None:
    prompt = TASK.prompt(Thought(PROBLEM), "spans")
    assert prompt is not None
    pieces = ["^", *re.findall(r"[a-z][0-4]|\w+|.", prompt.text + "a1= C audits D", re.DOTALL)]
    numbers = {piece: number for number, piece in enumerate(dict.fromkeys([*pieces, *TASK.spans.labels]))}
    mask = visible(TASK.spans.policy(lambda text: [numbers[text]]), [numbers[piece] for piece in pieces])
    seen = ["".join(piece for piece, shown in zip(pieces, row, strict=True) if shown) for row in mask]
    head = len(pieces) - 1 - pieces[::-1].index("a1")
    assert seen[head] == "".join(pieces[: head + 1])
    assert seen[-1] == "^a1= C audits D\na1= C audits D"
