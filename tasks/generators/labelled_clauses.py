"""Overlapping contracts with a label before each clause, and their merge, whose lines name the clauses that they copy.

    doc
    a0= Alice pays Bob 40 dollars
    a1= Carol audits Dan every 3 weeks
    doc
    a2= Carol audits Dan every 3 weeks
    merge
    a0= Alice pays Bob 40 dollars       the answer: each distinct clause once, under the label of its first appearance
    a1= Carol audits Dan every 3 weeks

A line's label opens the clause that it copies; which label comes next is decided on all of the text.
"""

import re
from collections.abc import Iterable, Sequence

from treereason.tasks.generators.named_lines import LABELS

_LINE = re.compile(r"([a-z][0-4])= (.+)")


def _labelled(documents: Iterable[Sequence[str]], first: int) -> list[list[tuple[str, str]]]:
    """(label, clause) of every document; labels count round from number `first`."""
    made: list[list[tuple[str, str]]] = []
    count = first
    for body in documents:
        made.append([(LABELS[(count + i) % len(LABELS)], clause) for i, clause in enumerate(body)])
        count += len(body)
    return made


def render_question(documents: Iterable[Sequence[str]], first: int = 0) -> str:
    """The documents, and `merge` with a line end, behind which the answer is written."""
    lines = ("".join(f"{label}= {clause}\n" for label, clause in body) for body in _labelled(documents, first))
    return "".join(f"doc\n{body}" for body in lines) + "merge\n"


def render_answer(documents: Iterable[Sequence[str]], first: int = 0) -> str:
    """Each distinct clause under its first label, without line end behind the last."""
    labels: dict[str, str] = {}
    for body in _labelled(documents, first):
        for label, clause in body:
            labels.setdefault(clause, label)
    return "\n".join(f"{label}= {clause}" for clause, label in labels.items())


def parse_clauses(text: str) -> list[str]:
    """The clauses of an answer, in order and with repeats; a line without label and clause gives none."""
    found = (_LINE.fullmatch(line) for line in text.split("\n"))
    return [match[2] for match in found if match]
