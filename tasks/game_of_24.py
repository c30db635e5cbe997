"""Game of 24 (Yao et al. 2023, arXiv 2305.10601, section 4.1), or countdown with another target.

A thought is one step, `4 + 5 = 9 (left: 6 9 10)`, and behind the last one `Answer: 6 * ...`. The shipped model writes
`4+5=9,6 9 10`, and its answer follows from its steps. The paper's 24.csv has the columns Rank and Puzzles.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Finish, Problem, Prompt, Score, Thought, UserError, oracle
from treereason.tasks.base import BaseTask
from treereason.tasks.files import bad_line, csv_rows
from treereason.tasks.generators import countdown
from treereason.tasks.judgements import judged
from treereason.tasks.prompt_files import builtin_templates
from treereason.tasks.steps import solution_text, tokens_left
from treereason.text import shown

_LINE_TOKENS = 64
VALUES = {"sure": 20.0, "likely": 1.0, "impossible": 0.001}  # as in the paper's code


@dataclass(frozen=True)
class GameOf24(BaseTask):
    """Make 24, or another target, of some numbers, each used once, with + - * /; one operation a thought."""

    target: Annotated[int, Field(ge=1, le=99, description="number to make: 24; any other is a game of countdown")] = 24
    numbers: Annotated[int, Field(ge=3, le=5, description="numbers in a generated problem")] = 4
    first: Annotated[int, Field(ge=1, lt=10**9, description="first Rank of a file; 901 in the paper")] = 1

    scorer = "solver"
    templates = builtin_templates("game_of_24")

    def generate(self, rng: random.Random) -> tuple[list[int], int]:
        return countdown.generate_numbers(rng, self.numbers, self.target), self.target

    def read(self, path: Path) -> Sequence[Problem]:
        problems: dict[int, Problem] = {}
        for line, row in csv_rows(path, ("Rank", "Puzzles")):
            if not re.fullmatch(r"[0-9]{1,9}", row["Rank"]) or (rank := int(row["Rank"])) in problems:
                raise bad_line(path, line, f"the Rank {shown(row['Rank'])} is no number of its own")
            if not re.fullmatch(r"[0-9]{1,3}(?: [0-9]{1,3}){1,4}", row["Puzzles"]):
                raise bad_line(path, line, f"not 2 to 5 numbers such as 4 5 6 10: {shown(row['Puzzles'])}")
            problems[rank] = Problem(str(rank), [int(number) for number in row["Puzzles"].split()], self.target)
        if max(problems, default=self.first) < self.first:
            raise UserError(f"{path}: the last Rank is {max(problems)}: lower task.first={self.first}")
        return [problem for rank, problem in problems.items() if rank >= self.first]

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """The numbers, then line after line until one is an answer; nothing behind a text that the model ended."""
        if thought.depth == 0:
            return self._asked("solve", thought, style, _LINE_TOKENS)
        if thought.answer is not None or thought.finish is Finish.END or countdown.left(thought) is None:
            return None
        if tokens_left(thought, _LINE_TOKENS * (len(thought.problem.input) + 1)) <= 0:  # of blank lines
            return None
        behind = "\n" if thought.finish is Finish.GIVEN else ""
        return Prompt(behind, appended=True, stop=("\n",), max_tokens=_LINE_TOKENS)

    def propose_prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Asks for possible next steps, or for the answer when one number is left; None where `prompt` is."""
        if thought.answer is not None or (state := countdown.left(thought)) is None:
            return None
        return self._asked("answer" if len(state) == 1 else "propose", thought, style, 256)

    def proposals(self, thought: Thought, text: str) -> list[str]:
        """Steps in the text that the rules allow, or answers when one number is left; each once, in the long form."""
        state = countdown.left(thought) or []
        return list(dict.fromkeys(filter(None, (countdown.next_line(state, line) for line in text.splitlines()))))

    def judge_prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Asks whether the numbers left can make the target, or whether the answer is right; None for a cut line."""
        if thought.answer is not None:
            return self._asked("value_answer", thought, style, 256)
        return None if countdown.left(thought) is None else self._asked("value", thought, style, 256)

    def parse_value(self, text: str) -> float | None:
        """20, 1 or 0.001 for the last "sure", "likely" or "impossible" in the text; None without one."""
        return next(reversed(judged(text, VALUES)), None)

    def _asked(self, name: str, thought: Thought, style: str, max_tokens: int) -> Prompt:
        numbers, left = " ".join(map(str, thought.problem.input)), countdown.spaced(countdown.left(thought) or [])
        values = {"target": thought.problem.target, "answer": thought.answer, "steps": solution_text(thought)}
        return self.fill(style, name, values | {"numbers": numbers, "left": left}, max_tokens)

    def parse(self, thought: Thought) -> str | None:
        """What an answer line states, or short steps come to; a line that ends the game otherwise is a wrong answer."""
        if thought.finish is Finish.LENGTH:
            return None
        if stated := countdown.stated(thought.text):
            return stated
        over = (state := countdown.left(thought)) is None or thought.finish is Finish.END
        if state and len(state) == 1 and (over or "," in thought.text):
            return state[0][1][1:-1]
        return (thought.text.strip() or None) if over else None

    def solved(self, problem: Problem, answer: Any) -> bool:
        """Whether the answer uses every number once and has exactly the target's value."""
        return countdown.makes(answer, problem.input, problem.target)


@oracle
def solver(thought: Thought) -> Score:
    """1 while the numbers left can still make the target, by exact search, else 0; final for a right answer."""
    if thought.answer is not None:
        return reaches_target(thought)
    values = [value for value, _ in countdown.left(thought) or ()]
    return Score(float(countdown.reaches(values, thought.problem.target)))


@oracle
def reaches_target(thought: Thought) -> Score:
    """1 for an answer of exactly the target's value that uses every number once, else 0."""
    right = countdown.makes(thought.answer, thought.problem.input, thought.problem.target)
    return Score(float(right), final=right)


SCORERS = {"solver": solver, "reaches_target": reaches_target}
