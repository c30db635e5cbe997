"""Contracts: generated documents, their text form, and the score of a merged document."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treereason.tasks.generators import contracts

DOCUMENTS = [["a b", "c"], ["c", "d"]]


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_documents_have_the_asked_size_and_survive_their_text_form(seed: int, count: int) -> None:
    documents = contracts.generate_documents(random.Random(seed), count, (2, 4))
    assert len(documents) == count
    assert all(2 <= len(body) <= 4 and len(set(body)) == len(body) for body in documents)
    merged = contracts.merge_documents(documents)
    assert contracts.parse_clauses(contracts.render_body(merged)) == merged
    assert contracts.merge_score(documents, merged) == 1
    lines = contracts.render_prompt(documents).split("\n")
    assert lines[-1] == "merge="
    assert [contracts.parse_clauses(line.removeprefix("doc")) for line in lines[:-1]] == documents


def test_one_seed_gives_one_problem() -> None:
    first, second, other = (contracts.generate_documents(random.Random(seed)) for seed in (5, 5, 6))
    assert first == second != other


def test_documents_overlap_and_hold_near_duplicates() -> None:
    shared = near = 0
    for seed in range(50):
        documents = contracts.generate_documents(random.Random(seed))
        merged = contracts.merge_documents(documents)
        shared += sum(map(len, documents)) - len(merged)
        words = [clause.split(" ") for clause in merged]
        near += sum(
            len(a) == len(b) and sum(x != y for x, y in zip(a, b, strict=True)) == 1
            for i, a in enumerate(words)
            for b in words[:i]
        )
    assert shared > 100
    assert near > 20


def test_a_near_duplicate_differs_in_one_word() -> None:
    clause = "Alice pays Bob 40 dollars"
    for seed in range(50):
        varied = contracts.vary_clause(random.Random(seed), clause).split(" ")
        assert sum(a != b for a, b in zip(varied, clause.split(" "), strict=True)) == 1
    with pytest.raises(ValueError, match="no name or number"):
        contracts.vary_clause(random.Random(0), "nothing here")


@pytest.mark.parametrize(
    ("answer", "kept", "clean", "score"),
    [
        (["a b", "c", "d"], 1, 1, 1),
        (["d", "c", "a b"], 1, 1, 1),
        (["a b", "c"], 2 / 3, 1, 0.8),
        (["a b", "c", "d", "c"], 1, 3 / 4, 6 / 7),
        (["a b", "invented"], 1 / 3, 1 / 2, 0.4),
        (["invented"], 0, 0, 0),
        ([], 0, 0, 0),
    ],
)
def test_metrics(answer: list[str], kept: float, clean: float, score: float) -> None:
    assert contracts.retention(DOCUMENTS, answer) == pytest.approx(kept)
    assert contracts.non_redundancy(DOCUMENTS, answer) == pytest.approx(clean)
    assert contracts.merge_score(DOCUMENTS, answer) == pytest.approx(score)


def test_the_text_form() -> None:
    assert contracts.render_prompt(DOCUMENTS) == "doc a b; c;\ndoc c; d;\nmerge="
    assert contracts.render_body(["a b", "c"]) == " a b; c;"
    assert contracts.parse_clauses(" a b; c;; c; cut off\nmore;") == ["a b", "c", "c", "cut off"]


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(ValueError, match="not 0"):
        contracts.generate_documents(random.Random(0), 0)
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        contracts.generate_documents(random.Random(0), 2, (4, 3))
