"""Sorting lists of digits: generated, or read from a CSV file in graph-of-thoughts' format.

The elements are digits 0..9 for every style of model, so that one file serves all of them.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Finish, Problem, Prompt, Score, Thought, UserError, oracle
from treereason.tasks.base import BaseTask, Template
from treereason.tasks.files import bad_line, csv_rows
from treereason.text import shown

UNPARSABLE = 300
_BRACKETS = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]")
_INTEGERS = re.compile(r"\s*-?[0-9]{1,9}(?:[\s,]+-?[0-9]{1,9})*[\s,]*")
_DIGITS = re.compile(r"[0-9]+")

PROMPTS = {
    "embedded": {
        "solve": Template("sort {digits}="),
        "improve": Template("fix {digits}:{attempt_digits}="),
        "aggregate": Template("merge {digits}="),
    },
    "chat": {
        "solve": Template(
            shared="Put the numbers of a list in ascending order. Every number must occur in your list exactly as "
            "often as in the given one. Write the ordered list in square brackets and nothing else.\n\n"
            "Given: [5, 1, 5, 0, 3]\nOrdered: [0, 1, 3, 5, 5]\n\n",
            text="Given: {numbers}\nOrdered:",
        ),
        "improve": Template(
            shared="A list was put in ascending order, perhaps with slips: a number lost, repeated, changed or out of "
            "place. Compare how often each number occurs in both lists, then write the right ordered list in square "
            "brackets, last in your reply.\n\n",
            text="Given: {numbers}\nAttempt: {attempt}\nRight:",
        ),
        "aggregate": Template(
            shared="Merge lists that are in ascending order into one list in ascending order. Every number must "
            "occur in it as often as in all lists together. Write the merged list in square brackets and nothing "
            "else.\n\n",
            text="Lists: {numbers}\nMerged:",
        ),
    },
}


@dataclass(frozen=True)
class Sorting(BaseTask):
    """Sort lists of digits: random ones, or those of a CSV file with the columns ID, Unsorted and Sorted."""

    length: Annotated[int, Field(ge=2, le=4096, description="digits in a random list")] = 32

    scorer = "sorting_errors"
    templates = PROMPTS

    def generate(self, rng: random.Random) -> tuple[list[int], list[int]]:
        digits = [rng.randrange(10) for _ in range(self.length)]
        return digits, sorted(digits)

    def read(self, path: Path) -> Sequence[Problem]:
        problems: dict[str, Problem] = {}
        for line, row in csv_rows(path, ("ID", "Unsorted", "Sorted")):
            name, digits = row["ID"], _digit_list(path, line, row["Unsorted"])
            if name in problems:
                raise bad_line(path, line, f"the ID {shown(name)} occurs twice: give each row its own")
            if _digit_list(path, line, row["Sorted"]) != sorted(digits):
                raise bad_line(path, line, "the column Sorted is not the column Unsorted in ascending order")
            problems[name] = Problem(name, digits, sorted(digits))
        return list(problems.values())

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Sort, or revise the answer of an earlier thought; None once a scorer found it perfect."""
        if thought.score is not None and thought.score.final:
            return None
        digits, attempt = thought.problem.input, thought.answer
        if attempt:
            values = {"numbers": digits, "digits": _join(digits), "attempt": attempt, "attempt_digits": _join(attempt)}
            return self.fill(style, "improve", values, max_tokens=_room(digits, style))
        return self.part_prompt(digits, style)

    def split(self, problem: Problem, parts: int) -> list[Any]:
        """Runs of digits, as equal in length as can be."""
        digits, num = problem.input, min(parts, len(problem.input))
        return [digits[len(digits) * i // num : len(digits) * (i + 1) // num] for i in range(num)]

    def part_prompt(self, part: Any, style: str) -> Prompt:
        values = {"numbers": part, "digits": _join(part)}
        return self.fill(style, "solve", values, max_tokens=_room(part, style))

    def parse_part(self, thought: Thought) -> list[int] | None:
        return self.parse(thought)

    @oracle
    def score_part(self, thought: Thought) -> Score:
        """As `sorting_errors`, against the part."""
        return _errors(thought.data["part"], self.parse_part(thought))

    def aggregate_prompt(self, thoughts: Sequence[Thought], style: str) -> Prompt:
        """Merge the sorted parts. Raises UserError where the shipped model would have to merge other than two."""
        lists = [self.parse_part(thought) or [] for thought in thoughts]
        if style == "embedded" and len(lists) != 2:
            raise UserError(f"the shipped model merges two lists, not {len(lists)}: take split 2 and keep 1")
        values = {"numbers": ", ".join(map(str, lists)), "digits": "+".join(map(_join, lists))}
        return self.fill(style, "aggregate", values, max_tokens=_room(thoughts[0].problem.input, style))

    def parse(self, thought: Thought) -> list[int] | None:
        """The last list in square brackets, else a text of digits alone, else a last line of numbers with commas.

        Brackets without digits are no list, but what has digits is read whole or not at all. Of a text that the token
        limit cut off only a list in closed brackets is whole.
        """
        text = thought.text.strip()
        if text.rfind("[") > text.rfind("]"):
            return None
        for inside in reversed(_BRACKETS.findall(text)):
            if not inside.strip():
                return []
            if _DIGITS.search(inside):
                return _integers(inside)
        if thought.finish is Finish.LENGTH:
            return None
        if _DIGITS.fullmatch(text):
            return [int(digit) for digit in text]
        above, _, last = text.rpartition("\n")
        return _integers(last) if "," in last and not above.rstrip().endswith(",") else None


def _room(digits: Sequence[int], style: str) -> int:
    """Tokens for as many digits and some more; a model that chats writes brackets and commas."""
    return (len(digits) + 8) * (1 if style == "embedded" else 4)


def _join(digits: Sequence[int]) -> str:
    return "".join(map(str, digits))


def _integers(text: str) -> list[int] | None:
    """The integers of a whole list, which may have brackets of its own around it."""
    if not _INTEGERS.fullmatch(text.strip().removeprefix("[").removesuffix("]")):
        return None
    return [int(number) for number in re.findall(r"-?[0-9]+", text)]


def _digit_list(path: Path, line: int, cell: str) -> list[int]:
    try:
        value: Any = json.loads(cell)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list) or not value:
        raise bad_line(path, line, f"not a list of digits such as [3, 1, 4]: {shown(cell)}")
    for element in value:
        if type(element) is not int or not 0 <= element <= 9:
            raise bad_line(path, line, f"the element {shown(element)} is not a digit 0 to 9")
    return value


@oracle
def sorting_errors(thought: Thought) -> Score:
    """Minus the errors: how far each number's count is off, plus descents; -300 when there is no answer."""
    return _errors(thought.problem.input, thought.answer)


def _errors(digits: Sequence[int], answer: Sequence[int] | None) -> Score:
    if answer is None:
        return Score(-UNPARSABLE)
    given, found = Counter(digits), Counter(answer)
    miscounted = ((given - found) + (found - given)).total()
    descents = sum(a > b for a, b in pairwise(answer))
    return Score(-(miscounted + descents), final=miscounted + descents == 0)


SCORERS = {"sorting_errors": sorting_errors}
