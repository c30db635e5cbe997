"""Runs of a task whose text tells what is seen of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

import treereason as tr
from treereason.events import ThoughtDecoded
from treereason.record.journal import read


@dataclass(frozen=True)
class Lines(tr.tasks.Arithmetic):
    """The shipped model's arithmetic, as if a line saw itself alone."""

    spans: ClassVar[tr.SpanGrammar] = tr.SpanGrammar(labels=("1", "2"), sink=2)


@dataclass(frozen=True)
class Words(tr.tasks.Arithmetic):
    """A label that is no token."""

    spans: ClassVar[tr.SpanGrammar] = tr.SpanGrammar(labels=("12345",))


def run(task: object, **options: object) -> tr.Run:
    return tr.run(task, tr.search.BestOfN(n=3), tr.load("embedded"), baseline="none", **options)  # type: ignore[arg-type]


def test_a_run_reads_what_its_lines_see_and_tells_what_that_was(tmp_path: Path) -> None:
    summary = run(Lines(limit=2), folder=tmp_path).summary
    assert 0 < summary["kv_tokens_read_spans"] < summary["kv_tokens_read_tree"] < summary["kv_tokens_read_sequence"]
    decoded = [event for event in read(tmp_path / "journal.sqlite") if isinstance(event, ThoughtDecoded)]
    assert any(event.seen for event in decoded)


def test_spans_can_be_left_out() -> None:
    plain = tr.run(tr.tasks.Arithmetic(limit=2), tr.search.BestOfN(n=3), tr.load("embedded"), baseline="none")
    off = run(Lines(limit=2), spans="off")
    texts = [[t.text for problem in each.problems for t in problem.thoughts] for each in (plain, off)]
    assert texts[0] == texts[1]
    assert "kv_tokens_read_spans" not in off.summary


def test_a_model_without_the_tokens_of_a_grammar_is_told() -> None:
    with pytest.raises(
        tr.UserError, match=r"spans need '12345' as one token; .* makes 5 of it; take engine\.spans=off"
    ):
        run(Words(limit=1))
