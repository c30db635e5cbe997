"""Questions after worked examples, with a chain of thought: generated arithmetic, or a JSON-lines file.

A file is that of word_problems.py, whose lines may have `question`, `answer` and perhaps `rationale`. The file's first
`examples` lines are the worked examples unless `examples_path` is given, the others are the problems.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Finish, Prompt, Thought
from treereason.tasks.answers import canonical, is_number, plain
from treereason.tasks.base import exact_match
from treereason.tasks.examples import NumExamples, Worked, expect_arithmetic
from treereason.tasks.generators import arithmetic
from treereason.tasks.prompt_files import builtin_templates
from treereason.tasks.steps import first_thought, open_text
from treereason.tasks.steps_hold import steps_hold
from treereason.tasks.word_problems import WordProblems


@dataclass(frozen=True)
class FewShot(WordProblems):
    """Answer questions after worked examples: generated arithmetic, or JSON lines with question and answer.

    Stepwise, a thought is one line, and the next thoughts continue its tokens until a line states the answer.
    """

    examples: NumExamples = 8
    operations: Annotated[int, Field(ge=1, le=20, description="operations in a generated question, up to 20")] = 4
    examples_seed: Annotated[
        int,
        Field(
            ge=0, lt=2**63, description="generated examples depend on it and not on seed, so all runs share one prompt"
        ),
    ] = 0

    templates = builtin_templates("few_shot")

    def generate(self, rng: random.Random) -> tuple[str, int]:
        taken = {example.question for example in self.worked}
        while (expression := arithmetic.generate_expression(rng, self.operations)) in taken:
            pass
        return expression, arithmetic.evaluate(expression)

    def made_examples(self) -> list[Worked]:
        rng = random.Random(f"examples/{self.examples_seed}")
        made: dict[str, Worked] = {}
        while len(made) < self.examples:
            question = arithmetic.generate_expression(rng, self.operations)
            steps = "".join(f"={line}\n" for line in arithmetic.solve(question, rng))
            answer = arithmetic.evaluate(question)
            made.setdefault(question, Worked(question, str(answer), answer, steps))
        return list(made.values())

    def shown_as(self, row: Worked, style: str) -> Mapping[str, Any]:
        if style == "embedded":
            return vars(row) | {"answer": row.target}
        if self.path is None and self.examples_path is None:  # a line of its own says what it is equal to
            lines = f"{row.question}\n{row.rationale}".replace("\n=", "\n").splitlines()
            return vars(row) | {"rationale": "".join(f"{a} = {b}\n" for a, b in pairwise(lines))}
        return vars(row)

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        if style == "embedded":
            expect_arithmetic([thought.problem.input, *(example.question for example in self.worked)])
        return super().prompt(thought, style)

    def lengths(self, style: str, question: str) -> tuple[int, int]:
        """For the shipped model a line has one operation less than the one above; others write more."""
        operations = sum(question.count(operator) for operator in "+-*")
        if style != "embedded":
            return (128, 512) if self.path is not None else (64, 64 * (operations + 2))
        return 4 * operations + 8, 2 * (operations + 1) * (operations + 2) + 8

    def judge_prompt(self, thought: Thought, style: str) -> Prompt | None:
        """The "verdict" template behind the thought's tokens; of its choices the first says that all is right so far.

        None for the root, where nothing is written yet.
        """
        return Prompt(self.template(style, "verdict").text, appended=True, max_tokens=8) if thought.depth else None

    def parse_value(self, text: str) -> float | None:
        """1 for a text that begins with the first choice of a "verdict" template, 0 for the second; else None."""
        said = text.strip().casefold()
        for template in (named["verdict"] for named in self._templates.values() if "verdict" in named):
            for value, choice in zip((1.0, 0.0), template.choices, strict=False):
                if said.startswith(choice.strip().casefold()):
                    return value
        return None

    def parse(self, thought: Thought) -> int | str | None:
        """What the first line `A22` states for the shipped model, for others what the text gives as its answer."""
        first = first_thought(thought)
        terse = first.prompt.endswith(arithmetic.render_question(thought.problem.input))
        answer = None if terse else super().parse(thought)
        if not terse and (answer is None or isinstance(answer, str)):
            answer = self._equated(thought, answer) or answer
        if answer is not None or (first.prompt and not terse):
            return answer
        text = open_text(thought)  # one that was made by hand may be in either form
        return arithmetic.parse_answer(text.rpartition("\n")[0] if thought.finish is Finish.LENGTH else text)

    def _equated(self, thought: Thought, answer: str | None) -> int | str | None:
        """What the whole question is said to equal, by the answer or by the last line of a text that has none."""
        if answer is None and (thought.finish is not Finish.END or self.path is not None):
            return None
        line = answer or plain(open_text(thought).rstrip().rpartition("\n")[2], named=True)
        left, _, right = line.rpartition("=")
        same = "".join(left.split()) == "".join(plain(thought.problem.input).split())
        return canonical(right) if same and is_number(right) else None


SCORERS = {"exact_match": exact_match, "steps_hold": steps_hold}
