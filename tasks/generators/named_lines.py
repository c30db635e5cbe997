"""Arithmetic in named lines: an expression tree as definitions, and a solution that names what each line needs.

    c0=41-7         definitions, each of one operation; a label is a letter and a digit
    d0=c0*2
    e0=90-d0?       the last one is marked
    c0              the question ends with the first label
    =41-7=34        the solution: behind `=` the numbers, their operation and its value
    d0c0=34*2=68    a label, then the labels whose values it needs
    e0d0=90-68=22   the answer

Numbers are 0 to 99. Whatever decides the next line stands in the last one or in the lines that it names.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LARGEST = 99
LABELS = tuple(f"{letter}{digit}" for letter in "abcdefghijklmnopqrstuvwxyz" for digit in range(5))
MOST_OPERATIONS = len(LABELS)
MARK = "?"
_APPLY: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
}
_OPERAND = r"[a-z][0-4]|\d{1,2}"
_DEFINITION = re.compile(rf"([a-z][0-4])=({_OPERAND})([-+*])({_OPERAND})(\??)")
_LINE = re.compile(r"((?:[a-z][0-4])+)=(\d{1,2})([-+*])(\d{1,2})=(\d{1,2})")


class Definition(NamedTuple):
    """`label=left operator right`; an operand is a label or a number, as text."""

    label: str
    left: str
    operator: str
    right: str

    @property
    def names(self) -> tuple[str, ...]:
        """The labels that it needs, in order."""
        return tuple(operand for operand in (self.left, self.right) if operand in LABELS)


@dataclass
class _Maker:
    rng: random.Random
    first: int
    made: list[Definition]
    values: list[int]

    def operand(self, operations: int) -> tuple[str, int] | None:
        """Text and value of a tree of so many operations; None for one of none, a number that is still free."""
        if not operations:
            return None
        before = self.rng.randrange(operations)
        operands = [self.operand(before), self.operand(operations - 1 - before)]
        while True:
            operator = self.rng.choice("+-*")
            low, high = (2, 12) if operator == "*" else (0, LARGEST)
            (left, a), (right, b) = (given or _number(self.rng.randint(low, high)) for given in operands)
            if 0 <= (value := _APPLY[operator](a, b)) <= LARGEST:
                break
            operands.reverse()  # or two large values may have no operation
        label = LABELS[(self.first + len(self.made)) % len(LABELS)]
        self.made.append(Definition(label, left, operator, right))
        self.values.append(value)
        return label, value


def _number(value: int) -> tuple[str, int]:
    return str(value), value


def generate(rng: random.Random, operations: int) -> list[Definition]:
    """Definitions of a random expression tree, each after those that it needs; all values are 0 to 99.

    Labels count round from a random one. Raises ValueError for operations outside 1 to 130, the number of labels.
    """
    if not 1 <= operations <= MOST_OPERATIONS:
        raise ValueError(f"named lines have 1 to {MOST_OPERATIONS} operations, not {operations}")
    maker = _Maker(rng, rng.randrange(len(LABELS)), [], [])
    maker.operand(operations)
    return maker.made


def render_question(definitions: Sequence[Definition]) -> str:
    """The definitions, the last one marked, and the first label, behind which a solution is written."""
    lines = (f"{label}={left}{operator}{right}" for label, left, operator, right in definitions)
    return "\n".join(lines) + f"{MARK}\n{definitions[0].label}"


def parse_question(text: str) -> list[Definition]:
    """The definitions of a question. Raises ValueError for a text that `render_question` does not write."""
    *lines, _ = text.split("\n")
    found = [_DEFINITION.fullmatch(line) for line in lines]
    made = [Definition(*match.groups()[:4]) for match in found if match]
    known = {definition.label for definition in made}
    needed = {name for definition in made for name in definition.names}
    if not made or len(made) < len(lines) or render_question(made) != text or not needed <= known:
        raise ValueError(f"not a question of named lines: {text!r}")
    return made


def values(definitions: Sequence[Definition]) -> dict[str, int]:
    """The value of each label. Raises KeyError for one that is needed before it is defined."""
    found: dict[str, int] = {}
    for label, left, operator, right in definitions:
        a, b = (found[operand] if operand in LABELS else int(operand) for operand in (left, right))
        found[label] = _APPLY[operator](a, b)
    return found


def solve(definitions: Sequence[Definition]) -> str:
    """The solution, without the question's label at its head and without line end behind its last line."""
    known = values(definitions)
    lines = []
    for definition in definitions:
        left, right = (str(known.get(operand, operand)) for operand in (definition.left, definition.right))
        heads = "".join((definition.label, *definition.names))
        lines.append(f"{heads}={left}{definition.operator}{right}={known[definition.label]}")
    return "\n".join(lines).removeprefix(definitions[0].label)


class Step(NamedTuple):
    """One solution line: its label, the labels that it names, and what it computes."""

    label: str
    names: tuple[str, ...]
    left: int
    operator: str
    right: int
    value: int

    @property
    def holds(self) -> bool:
        """Whether the line's own arithmetic is right, whatever was asked."""
        return _APPLY[self.operator](self.left, self.right) == self.value


def parse_line(text: str) -> Step | None:
    """A whole solution line, its label included, or None for any other text."""
    if (match := _LINE.fullmatch(text)) is None:
        return None
    heads, left, operator, right, value = match.groups()
    label, *names = (heads[i : i + 2] for i in range(0, len(heads), 2))
    return Step(label, tuple(names), int(left), operator, int(right), int(value))


def parse_answer(definitions: Sequence[Definition], solution: str) -> int | None:
    """The value on the last line of a solution, if that line has the marked label; else None."""
    last = parse_line((definitions[0].label + solution).rpartition("\n")[2])
    return last.value if last is not None and last.label == definitions[-1].label else None


def check_lines(definitions: Sequence[Definition], solution: str) -> list[bool]:
    """Whether each line of a solution is the one that belongs there, by names, numbers and arithmetic."""
    wanted = (definitions[0].label + solve(definitions)).split("\n")
    given = (definitions[0].label + solution).split("\n")
    return [i < len(wanted) and line == wanted[i] for i, line in enumerate(given)]
