"""Multiple choice after worked examples: generated arithmetic, or the JSON lines of choice_rows.py.

search=choose ranks the options by their log-probability; other searches sample, and the text must name an option.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from treereason.core import Finish, Problem, Prompt, Thought
from treereason.tasks.answers import canonical, final_answer, plain
from treereason.tasks.base import exact_match
from treereason.tasks.choice_rows import LETTERS, choice_row
from treereason.tasks.examples import ExamplesTask, NumExamples, Worked, expect_arithmetic
from treereason.tasks.generators import arithmetic
from treereason.tasks.prompt_files import builtin_templates

_PROMPTS = {"letter": ("solve", "option"), "text": ("text", "text_option"), "ending": ("ending", "ending_option")}
_NAMED = r"(?i:(?:the )?(?:(?:right|correct|best) )?(?:option|choice|letter)(?: is)?:? )?"
_LED = re.compile(_NAMED + r"[\s*(\[]*([A-Z])(?:[*)\].,:\s]|-\s)+(.*)", re.DOTALL)


@dataclass(frozen=True)
class Choices(ExamplesTask):
    """Choose one of several options: generated arithmetic, or JSON lines like those of MMLU, ARC or HellaSwag."""

    examples: NumExamples = 4
    operations: Annotated[int, Field(ge=1, le=20, description="operations in a generated question, up to 20")] = 1
    answer_with: Annotated[
        Literal["letter", "text", "ending"],
        Field(description="letter of a listed option, text of one that is not listed, or ending of the question"),
    ] = "letter"

    scorer = "exact_match"
    templates = builtin_templates("choices")

    def generate(self, rng: random.Random) -> tuple[dict[str, Any], str]:
        taken = {example.question for example in self.worked}
        while (made := self._made(rng)).question in taken:
            pass
        return self.given(made), made.answer

    def made_examples(self) -> list[Worked]:
        rng = random.Random("examples")
        return [self._made(rng) for _ in range(self.examples)]

    def _made(self, rng: random.Random) -> Worked:
        question = arithmetic.generate_expression(rng, self.operations)
        right = arithmetic.evaluate(question)
        numbers = [right, *arithmetic.near(rng, right, 3)]
        rng.shuffle(numbers)
        letter = LETTERS[numbers.index(right)]
        return Worked(question, letter, letter, choices=tuple(map(str, numbers)))

    def row(self, path: Path, line: int, value: dict[str, Any]) -> Worked:
        return choice_row(path, line, value)

    def given(self, row: Worked) -> dict[str, Any]:
        return {"question": row.question, "choices": dict(zip(LETTERS, row.choices, strict=False))}

    def shown_as(self, row: Worked, style: str) -> Mapping[str, Any]:
        problem = Problem("", self.given(row))
        asked = self.fill(style, _PROMPTS[self.answer_with][0], _listed(problem)).text
        return {"asked": asked, "option": self.options(problem, style)[LETTERS.index(row.answer)]}

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """The question, with its options where a letter is asked for; once."""
        if thought.depth:
            return None
        if style == "embedded":
            expect_arithmetic([thought.problem.input["question"], *(example.question for example in self.worked)])
        name, limit = _PROMPTS[self.answer_with][0], 64 if style == "embedded" else 256
        return self.ask(style, name, _listed(thought.problem), limit)

    def options(self, problem: Problem, style: str) -> list[str]:
        """The texts of which one is to follow the prompt, in order."""
        name, choices = _PROMPTS[self.answer_with][1], problem.input["choices"]
        return [self.fill(style, name, {"letter": letter, "choice": choices[letter]}).text for letter in choices]

    def parse(self, thought: Thought) -> str | None:
        """The letter of the option that a text states, or all that it is; of the shipped model the first line `A22`."""
        choices, text, cut = thought.problem.input["choices"], thought.text, thought.finish is Finish.LENGTH
        terse = thought.prompt.endswith(arithmetic.render_question(thought.problem.input["question"]))
        number = arithmetic.parse_answer(text.rpartition("\n")[0] if cut else text)
        if terse or (number is not None and not thought.prompt):
            return None if number is None else _repeated(str(number), choices)
        if thought.finish is Finish.GIVEN:
            return self._letter(text, choices)
        stated = final_answer(text, cut=cut, holds=lambda line: self._letter(line, choices) is not None)
        stated = stated or ("" if cut else text.strip().partition("\n")[0])
        return self._letter(stated, choices) if stated else None

    def _letter(self, text: str, choices: Mapping[str, str]) -> str | None:
        repeated = _repeated(text, choices)
        if repeated is not None and self.answer_with != "letter":
            return repeated
        led = _LED.fullmatch(text)
        reasons = ("because ", "since ", "as ")
        if led and led[1] in choices and plain(led[2]).startswith((plain(choices[led[1]]), *reasons)):
            return led[1]
        alone = str(canonical(re.sub(rf"\A{_NAMED}", "", text))).upper()
        return alone if alone in choices else repeated


def _listed(problem: Problem) -> dict[str, str]:
    options = "\n".join(f"{letter}. {choice}" for letter, choice in problem.input["choices"].items())
    return {"question": problem.input["question"], "options": options}


def _repeated(text: str, choices: Mapping[str, str]) -> str | None:
    """The letter of the first choice that equals the text."""
    stated = canonical(text)
    return next((letter for letter, choice in choices.items() if canonical(choice) == stated), None)


SCORERS = {"exact_match": exact_match}
