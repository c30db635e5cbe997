"""Small contracts: overlapping documents, their text form, and how well a merged document covers them.

A clause is a sentence such as `Alice pays Bob 40 dollars`; a document is a list of clauses. A problem reads

    doc Alice pays Bob 40 dollars; Carol audits Dan;
    doc Carol audits Dan; Alice pays Bob 45 dollars;
    merge=

and its answer holds every distinct clause once, in order of first appearance, as the body of a document.
"""

import random
import re
from collections.abc import Iterable, Sequence

NAMES = (
    "Alice", "Bob", "Carol", "Dan", "Erin", "Frank", "Grace", "Heidi",
    "Ivan", "Judy", "Karl", "Laura", "Mallory", "Nina", "Oscar", "Peggy",
)  # fmt: skip
# {a} and {b} become two different names, {n} a number from 1 to 99.
TEMPLATES = (
    "{a} pays {b} {n} dollars",
    "{a} rents office {n} to {b}",
    "{a} delivers {n} parts to {b}",
    "{a} may terminate after {n} days",
    "{a} audits {b} every {n} weeks",
    "{a} insures {b} for {n} years",
    "{a} keeps all secrets of {b}",
    "{a} repairs machine {n} of {b}",
)
NEAR_DUPLICATES = 0.2
_CHANGEABLE = re.compile(r"\d+|" + "|".join(NAMES))


def generate_clause(rng: random.Random) -> str:
    """One random clause: a template with two different names and a number from 1 to 99."""
    first, second = rng.sample(NAMES, 2)
    return rng.choice(TEMPLATES).format(a=first, b=second, n=rng.randint(1, 99))


def vary_clause(rng: random.Random, clause: str) -> str:
    """A near duplicate: the clause with one of its names or numbers replaced by another.

    Raises ValueError when the clause holds neither a known name nor a number.
    """
    places = list(_CHANGEABLE.finditer(clause))
    if not places:
        raise ValueError(f"no name or number to change in the clause {clause!r}")
    place = rng.choice(places)
    others = NAMES if place[0] in NAMES else tuple(str(n) for n in range(1, 100))
    fresh = rng.choice([other for other in others if other not in clause.split(" ")])
    return clause[: place.start()] + fresh + clause[place.end() :]


def generate_documents(
    rng: random.Random, documents: int = 3, clauses: tuple[int, int] = (3, 5), shared: float = 0.45
) -> list[list[str]]:
    """Overlapping documents, each with a number of clauses drawn from the inclusive range `clauses`.

    A clause comes from an earlier document with probability `shared`; else it is new, and with probability
    NEAR_DUPLICATES a near duplicate of an earlier clause. No document holds a clause twice.
    Raises ValueError when documents < 1 or the range is empty or below 1.
    """
    if documents < 1 or not 1 <= clauses[0] <= clauses[1]:
        raise ValueError(f"need at least one document and one clause, not {documents} and {clauses}")
    pool: list[str] = []
    made: list[list[str]] = []
    for _ in range(documents):
        earlier = list(pool)
        body: list[str] = []
        size = rng.randint(*clauses)
        while len(body) < size:
            repeatable = [clause for clause in earlier if clause not in body]
            if repeatable and rng.random() < shared:
                clause = rng.choice(repeatable)
            elif pool and rng.random() < NEAR_DUPLICATES:
                clause = vary_clause(rng, rng.choice(pool))
            else:
                clause = generate_clause(rng)
            if clause not in body:
                body.append(clause)
            if clause not in pool:
                pool.append(clause)
        made.append(body)
    return made


def merge_documents(documents: Iterable[Sequence[str]]) -> list[str]:
    """The distinct clauses of all documents in the order of first appearance: the perfect merge."""
    return list(dict.fromkeys(clause for body in documents for clause in body))


def render_body(clauses: Iterable[str]) -> str:
    """Clauses as the text after `doc` in a problem or after `merge=` in an answer: ` <clause>; <clause>;`."""
    return "".join(f" {clause};" for clause in clauses)


def render_prompt(documents: Iterable[Sequence[str]]) -> str:
    """The problem as text, one `doc` line per document, ending in `merge=` where the answer begins."""
    return "".join(f"doc{render_body(body)}\n" for body in documents) + "merge="


def parse_clauses(text: str) -> list[str]:
    """Clauses of an answer or a document body, in order and with repeats; only the first line counts.

    Blank clauses are dropped; a last clause without its `;` is kept as it stands.
    """
    clauses = (" ".join(part.split()) for part in text.split("\n", 1)[0].split(";"))
    return [clause for clause in clauses if clause]


def retention(documents: Iterable[Sequence[str]], answer: Sequence[str]) -> float:
    """Share in [0, 1] of the distinct input clauses that occur in the answer; 1 when there are none."""
    wanted = set(merge_documents(documents))
    return len(wanted & set(answer)) / len(wanted) if wanted else 1.0


def non_redundancy(documents: Iterable[Sequence[str]], answer: Sequence[str]) -> float:
    """Share in [0, 1] of answer clauses that occur in a document and repeat no earlier one; 0 when empty."""
    known = set(merge_documents(documents))
    return len(known & set(answer)) / len(answer) if answer else 0.0


def merge_score(documents: Sequence[Sequence[str]], answer: Sequence[str]) -> float:
    """Harmonic mean in [0, 1] of retention and non-redundancy; 0 when both are 0."""
    kept, clean = retention(documents, answer), non_redundancy(documents, answer)
    return 2 * kept * clean / (kept + clean) if kept + clean else 0.0
