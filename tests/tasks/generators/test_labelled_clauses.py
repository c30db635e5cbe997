"""Labelled clauses: a merge is read back, and each of its lines names the clause that it copies."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from treereason.tasks.generators import contracts, labelled_clauses

DOCUMENTS = [["A pays B", "C audits D"], ["C audits D", "E insures F"]]


def test_labels_count_through_all_documents_and_a_merge_has_the_first_ones() -> None:
    question = "doc\nz4= A pays B\na0= C audits D\ndoc\na1= C audits D\na2= E insures F\nmerge\n"
    assert labelled_clauses.render_question(DOCUMENTS, first=129) == question
    assert labelled_clauses.render_answer(DOCUMENTS, first=129) == "z4= A pays B\na0= C audits D\na2= E insures F"


@given(st.integers(0, 10_000), st.integers(2, 8))
def test_a_right_merge_is_perfect(seed: int, documents: int) -> None:
    made = contracts.generate_documents(random.Random(seed), documents)
    answer = labelled_clauses.parse_clauses(labelled_clauses.render_answer(made))
    assert answer == contracts.merge_documents(made)
    assert contracts.merge_score(made, answer) == 1


def test_what_is_no_line_gives_no_clause() -> None:
    assert labelled_clauses.parse_clauses("a0= A pays B\na9= C\nmerge\nb1=\n\nc0= D") == ["A pays B", "D"]
