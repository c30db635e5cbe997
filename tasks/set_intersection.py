"""Set intersection: two sets of numbers, generated or read from a CSV file in graph-of-thoughts' format."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Finish, Problem, Prompt, Score, Thought, oracle
from treereason.tasks.base import THINKING_TOKENS, BaseTask
from treereason.tasks.files import bad_line, named_rows
from treereason.tasks.generators.number_sets import Sets, draw_sets, num_errors, shared, split_second
from treereason.tasks.lists import number_set, read_list
from treereason.tasks.prompt_files import builtin_templates

UNPARSABLE = 1000
_SPACED = re.compile(r"[0-9]{1,9}(?: +[0-9]{1,9})*")
_OTHER_BRACKETS = str.maketrans({"{": "[", "}": "]", "∅": "[]", "\\": ""})


@dataclass(frozen=True)
class SetIntersection(BaseTask):
    """Find the numbers that two sets share: random sets, or a CSV file with columns ID, SET1, SET2, INTERSECTION.

    Besta et al. 2023, arXiv 2308.09687, section 5.2. The shipped model knows sets of at most 16 numbers below 64.
    """

    size: Annotated[int, Field(ge=1, le=1024, description="numbers in each random set, all below twice the size")] = 16

    scorer = "set_errors"
    templates = builtin_templates("set_intersection")

    def generate(self, rng: random.Random) -> tuple[dict[str, list[int]], list[int]]:
        sets = draw_sets(rng, self.size)
        return sets, sorted(shared(sets))

    def read(self, path: Path) -> Sequence[Problem]:
        problems = []
        for line, row in named_rows(path, ("ID", "SET1", "SET2", "INTERSECTION")):
            first, second, common = (number_set(path, line, row, name) for name in ("SET1", "SET2", "INTERSECTION"))
            sets = {"first": first, "second": second}
            if set(common) != shared(sets):
                raise bad_line(path, line, "the column INTERSECTION is not what SET1 and SET2 share")
            problems.append(Problem(row["ID"], sets, sorted(common)))
        return problems

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Intersect, or correct an earlier answer where the style can; None once a scorer found it perfect."""
        sets, attempt = thought.problem.input, thought.answer
        if (thought.score is not None and thought.score.final) or (attempt is not None and style == "embedded"):
            return None
        if attempt is None:
            return self.part_prompt(sets, style)
        values = _values(sets) | {"attempt": attempt}
        return self.fill(style, "improve", values, max_tokens=THINKING_TOKENS + _room(sets))

    def parse(self, thought: Thought) -> list[int] | None:
        """Numbers between spaces alone, else the last list in any brackets. The shipped model writes nothing for []."""
        text, cut = thought.text.strip(), thought.finish is Finish.LENGTH
        if not cut and not text and thought.prompt.endswith("="):
            return []
        if _SPACED.fullmatch(text):
            return None if cut else [int(number) for number in text.split()]
        return read_list(text.translate(_OTHER_BRACKETS), cut=cut)

    def solved(self, problem: Problem, answer: Any) -> bool:
        """Whether the answer holds each number of the target once, in any order, and no other."""
        return problem.target is not None and answer is not None and sorted(answer) == sorted(problem.target)

    def split(self, problem: Problem, parts: int) -> list[Any]:
        """The first set with runs of the second one."""
        return split_second(problem.input, parts)

    def part_prompt(self, part: Any, style: str) -> Prompt:
        """Asks for the intersection of two sets."""
        return self.fill(style, "solve", _values(part), max_tokens=_room(part))

    def parse_part(self, thought: Thought) -> list[int] | None:
        """The common numbers that a part's thought states, read as `parse` does."""
        return self.parse(thought)

    @oracle
    def score_part(self, thought: Thought) -> Score:
        """As `set_errors`, for the sets of the part."""
        return _score(thought.data["part"], self.parse_part(thought))

    def aggregate_prompt(self, thoughts: Sequence[Thought], style: str) -> Prompt:
        """Asks for the union of the answers; of the shipped model, for what the first set shares with it."""
        sets, lists = thoughts[0].problem.input, [self.parse_part(thought) or [] for thought in thoughts]
        union = list(dict.fromkeys(number for numbers in lists for number in numbers))
        values = _values({"first": sets["first"], "second": union}) | {"lists": "\n".join(map(str, lists))}
        return self.fill(style, "aggregate", values, max_tokens=_room(sets))


def _values(sets: Sets) -> dict[str, Any]:
    """What the prompts say: each set as a list, and as numbers between single spaces."""
    return {**sets, **{f"{name}_spaced": " ".join(map(str, numbers)) for name, numbers in sets.items()}}


def _room(sets: Sets) -> int:
    """Tokens for all numbers that can be shared, their signs, and some more."""
    return (min(map(len, sets.values())) + 8) * 6


def _score(sets: Sets, answer: Sequence[int] | None) -> Score:
    errors = UNPARSABLE if answer is None else num_errors(sets, answer)
    return Score(-errors, final=errors == 0)


@oracle
def set_errors(thought: Thought) -> Score:
    """Minus the errors: shared numbers that are missing, plus others and repeats; -1000 when there is no answer."""
    return _score(thought.problem.input, thought.answer)


SCORERS = {"set_errors": set_errors}
