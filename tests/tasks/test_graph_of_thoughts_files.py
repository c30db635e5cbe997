"""Graph-of-thoughts' four files from first to last row, through a search, scored as a second statement says."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import Script, run_search
from treereason import events
from treereason.core import Thought
from treereason.search import BestOfN
from treereason.tasks import document_merging, keyword_counting, set_intersection, sorting

Row = Mapping[str, str]
Answers = list[tuple[str, Any]]
"""What a model writes, and what a reader finds stated in it: None where that is no answer."""

UNREADABLE: Answers = [(text, None) for text in ("", "I do not know.", "[1, two, 3]", '{"Peru": "often"}', "[", "{")]


def sorting_answers(row: Row, limit: int) -> Answers:
    right: list[int] = json.loads(row["Sorted"])
    lists = [right, right[1:], [*right, 9], right[::-1], [*right[:-1], 10], []]
    stated = [(str(each), each) for each in lists]
    stated += [
        ("".join(map(str, right)), right),
        (f"Sorted: {right}, I think.", right),
        (f"[7, 7] is wrong\n{right}", right),
    ]
    return [*stated, (" " * (limit - 3) + str(right), None)]


def sorting_errors(row: Row, stated: list[int] | None) -> float:
    if stated is None:
        return 300
    given: list[int] = json.loads(row["Unsorted"])
    counts = sum(abs(stated.count(number) - given.count(number)) for number in {*given, *stated})
    return counts + sum(after < before for before, after in pairwise(stated))


def set_answers(row: Row, limit: int) -> Answers:
    right: list[int] = json.loads(row["INTERSECTION"])
    lists = [right, right[::-1], right[1:], [*right, 64], [*right, *right[:1]], []]
    stated = [(str(each), each) for each in lists]
    stated += [
        ("{" + str(right)[1:-1] + "}", right),
        (f"They share {right}, no more.", right),
        (f"Not []:\n{right}", right),
    ]
    stated += [(" ".join(map(str, right)), right)] if right else []
    return [*stated, (" " * (limit - 3) + str([*right, 1, 2]), None)]


def set_errors(row: Row, stated: list[int] | None) -> float:
    if stated is None:
        return 1000
    common = [number for number in json.loads(row["SET1"]) if number in json.loads(row["SET2"])]
    return sum(abs(stated.count(number) - common.count(number)) for number in {*common, *stated})


def named(row: Row) -> list[str]:
    return [name for name in row["Countries"].strip("[]").split(", ") if name]


def count_answers(row: Row, limit: int) -> Answers:
    names = named(row)
    right = {name: names.count(name) for name in names}
    off = {name: count + 1 for name, count in right.items()}
    dictionaries = [right, off, dict(list(right.items())[1:]), {**right, "Atlantis": 2}, {**right, "Atlantis": 0}, {}]
    stated = [(json.dumps(each), each) for each in dictionaries]
    stated += [(f"```json\n{json.dumps(right, indent=1)}\n```", right), (f"Not {{}} but {json.dumps(right)}.", right)]
    return [*stated, (f"[{row['Countries']}]", None), (" " * (limit - 3) + json.dumps(right | {"Atlantis": 1}), None)]


def count_errors(row: Row, stated: Mapping[str, int] | None) -> float:
    if stated is None:
        return 100
    names = named(row)
    return sum(abs(names.count(name) - stated.get(name, 0)) for name in {*names, *stated})


def documents(row: Row) -> list[str]:
    return [row[f"document{i}"].strip() for i in range(1, 5)]


def merge_answers(row: Row, limit: int) -> Answers:
    first, *others = documents(row)
    part = first[: limit // 2 - 40]
    texts = [
        first[: limit - 40],
        part + "\n" + part,
        others[0][: limit - 40],
        "Something else. It was never asked for.",
    ]
    stated: Answers = [(f"<merged>\n{text}\n</merged>", text.strip()) for text in texts]
    stated += [(part, part.strip()), (f"Here:\n<Merged>{part}</Merged>\nDone.", part.strip())]
    return [*stated, ("<merged>" + first * 9, None), ("", None)]


def overlap(row: Row, stated: str | None) -> float:
    """Minus the harmonic mean of what is kept and of what is said once, by clauses that share most of their words."""

    def clauses(text: str) -> list[set[str]]:
        found: list[set[str]] = []
        for part in re.split(r"\n|[.;:!?]\s", text.casefold()):
            words = [word for word in re.findall(r"[^\W_]+", part) if len(word) > 3 or word.isdigit()]
            found += [set(words[start : start + 16]) for start in range(0, len(words), 16)]
        return [clause for clause in found if len(clause) >= 3]

    def first_of_their_kind(found: list[set[str]]) -> list[set[str]]:
        kept: list[set[str]] = []
        for clause in found:
            if not any(len(clause & other) / ((len(clause) + len(other)) / 2) >= 0.6 for other in kept):
                kept.append(clause)
        return kept

    given = clauses(stated or "")
    wanted = first_of_their_kind([clause for text in documents(row) for clause in clauses(text)])
    kept = sum(any(len(clause & other) / len(clause) >= 0.6 for other in given) for clause in wanted) / len(wanted)
    clean = len(first_of_their_kind(given)) / len(given) if given else 0.0
    return -2 / (1 / kept + 1 / clean) if kept and clean else 0.0


def written(answers: Answers) -> Script:
    """One answer after another."""
    return lambda path: answers[path[0]][0]


@dataclass(frozen=True)
class Case:
    """A file, the module of its task, a row's answers, and how many errors each makes."""

    file: str
    module: Any
    task: type[Any]
    answers: Callable[[Row, int], Answers]
    errors: Callable[[Row, Any], float]


CASES = [
    Case("sorting_032.csv", sorting, sorting.Sorting, sorting_answers, sorting_errors),
    Case("set_intersection_032.csv", set_intersection, set_intersection.SetIntersection, set_answers, set_errors),
    Case("countries.csv", keyword_counting, keyword_counting.KeywordCounting, count_answers, count_errors),
    Case("documents.csv", document_merging, document_merging.DocumentMerging, merge_answers, overlap),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_every_row_is_searched_and_each_answer_scored_by_the_formula(data: Path, case: Case) -> None:
    path = data / "graph-of-thoughts" / case.file
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    task = case.task(path=str(path))
    problems = task.problems(0)
    assert len(problems) == len(rows) > 1
    free_text = case.file == "documents.csv"
    for row, problem in zip(rows, problems, strict=True):
        limit = task.prompt(Thought(problem), "plain").max_tokens  # in letters: the scripted engine's tokens
        answers = case.answers(row, limit) + ([] if free_text else UNREADABLE)
        scorer = case.module.SCORERS[task.scorer]
        outcome = run_search(BestOfN(n=len(answers)), written(answers), task, scorer, problems=[problem])
        assert (outcome.done.status, outcome.done.error, outcome.done.thoughts_failed) == ("done", None, 0)
        scored: Sequence[events.ThoughtScored] = outcome.of(events.ThoughtScored)
        assert sorted(event.thought for event in scored) == [(i,) for i in range(len(answers))]
        errors = {event.thought[0]: -event.score for event in scored}
        for i, (text, stated) in enumerate(answers):
            assert errors[i] == pytest.approx(case.errors(row, stated)), (problem.id, text)
        assert outcome.done.score == -min(errors.values())
        assert outcome.done.solved is not free_text
