"""How well a merged free text covers its sources without repeating itself, by shared words: a proxy, not a judge.

Texts are cut into clauses at line ends and at the end of sentences; a clause is its set of numbers and of words
longer than three letters. A paraphrase in other words counts as a different clause: sources that say the same in
other words can be copied one after another at little cost. Values compare answers to one problem, not problems.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

LIKENESS = 0.6
LONGEST = 16
SHORTEST = 3
_ENDS = re.compile(r"\n|[.;:!?]\s")
_WORD = re.compile(r"[^\W_]+")

Clause = frozenset[str]


def clauses(text: str) -> list[Clause]:
    """Word sets of a text's clauses in order; longer ones are cut, and scraps such as headings dropped."""
    found = []
    for part in _ENDS.split(text.casefold()):
        words = [word for word in _WORD.findall(part) if len(word) > 3 or word.isdigit()]
        found += [frozenset(words[i : i + LONGEST]) for i in range(0, len(words), LONGEST)]
    return [clause for clause in found if len(clause) >= SHORTEST]


def likeness(a: Clause, b: Clause) -> float:
    """Shared words over the mean number of words: 1 for equal clauses, 0 for those without a common word."""
    return 2 * len(a & b) / (len(a) + len(b))


def distinct(found: Sequence[Clause]) -> list[Clause]:
    """The clauses that are like no earlier distinct one."""
    kept: list[Clause] = []
    for clause in found:
        if all(likeness(clause, other) < LIKENESS for other in kept):
            kept.append(clause)
    return kept


@lru_cache(maxsize=64)
def _wanted(sources: tuple[str, ...]) -> list[Clause]:
    return distinct([clause for source in sources for clause in clauses(source)])


def retention(sources: Sequence[str], answer: str) -> float:
    """Share in [0, 1] of distinct source clauses most of whose words are together in one clause of the answer."""
    wanted, given = _wanted(tuple(sources)), clauses(answer)
    covered = sum(any(len(clause & other) >= LIKENESS * len(clause) for other in given) for clause in wanted)
    return covered / len(wanted) if wanted else 1.0


def non_redundancy(answer: str) -> float:
    """Share in [0, 1] of the answer's clauses that are like no earlier one; 0 when it has none."""
    given = clauses(answer)
    return len(distinct(given)) / len(given) if given else 0.0


def overlap(sources: Sequence[str], answer: str) -> float:
    """Harmonic mean in [0, 1] of retention and non-redundancy; 0 when both are 0."""
    kept, clean = retention(sources, answer), non_redundancy(answer)
    return 2 * kept * clean / (kept + clean) if kept + clean else 0.0
