"""Sorting lists of digits: generated, or read from a CSV file in graph-of-thoughts' format.

The elements are digits 0..9 for every style of model, so that one file serves all of them.
"""

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
from treereason.tasks.base import THINKING_TOKENS, BaseTask
from treereason.tasks.files import bad_line, named_rows
from treereason.tasks.lists import digit_list, read_list, runs
from treereason.tasks.prompt_files import builtin_templates

UNPARSABLE = 300
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Sorting(BaseTask):
    """Sort lists of digits: random ones, or those of a CSV file with the columns ID, Unsorted and Sorted."""

    length: Annotated[int, Field(ge=2, le=4096, description="digits in a random list")] = 32

    scorer = "sorting_errors"
    templates = builtin_templates("sorting")

    def generate(self, rng: random.Random) -> tuple[list[int], list[int]]:
        digits = [rng.randrange(10) for _ in range(self.length)]
        return digits, sorted(digits)

    def read(self, path: Path) -> Sequence[Problem]:
        problems = []
        for line, row in named_rows(path, ("ID", "Unsorted", "Sorted")):
            digits = digit_list(path, line, row["Unsorted"])
            if digit_list(path, line, row["Sorted"]) != sorted(digits):
                raise bad_line(path, line, "the column Sorted is not the column Unsorted in ascending order")
            problems.append(Problem(row["ID"], digits, sorted(digits)))
        return problems

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Sort, or revise the answer of an earlier thought; None once a scorer found it perfect."""
        if thought.score is not None and thought.score.final:
            return None
        digits, attempt = thought.problem.input, thought.answer
        if attempt:
            values = {"numbers": digits, "digits": _join(digits), "attempt": attempt, "attempt_digits": _join(attempt)}
            thinking = 0 if style == "embedded" else THINKING_TOKENS
            return self.fill(style, "improve", values, max_tokens=thinking + _room(digits, style))
        return self.part_prompt(digits, style)

    def split(self, problem: Problem, parts: int) -> list[Any]:
        """Runs of digits, as equal in length as can be."""
        return list(runs(problem.input, parts))

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
        """A text of digits alone, else the list that `read_list` finds: of a text that was cut off, a closed one."""
        text, cut = thought.text.strip(), thought.finish is Finish.LENGTH
        if _DIGITS.fullmatch(text):
            return None if cut else [int(digit) for digit in text]
        return read_list(text, cut=cut)


def _room(digits: Sequence[int], style: str) -> int:
    """Tokens for as many digits and some more; a model that chats writes brackets, commas and a few words."""
    return len(digits) + 8 if style == "embedded" else 4 * len(digits) + 64


def _join(digits: Sequence[int]) -> str:
    return "".join(map(str, digits))


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
