"""Arithmetic in named lines: each line of a solution names the lines that it needs, and only those are read."""

import random
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from treereason.core import Finish, Prompt, Score, Thought, oracle
from treereason.core.spans import SpanGrammar
from treereason.tasks.base import BaseTask
from treereason.tasks.generators import named_lines
from treereason.tasks.prompt_files import builtin_templates
from treereason.tasks.steps import STEPS_TO_WHOLE, solution_text, tokens_left

_LINE_TOKENS = 16
"""A line has three labels, three numbers of two digits and four signs at most."""


@dataclass(frozen=True)
class ArithmeticSpans(BaseTask):
    """Evaluate a generated expression tree, given as definitions such as d0=c0*2, in lines such as d0c0=34*2=68.

    A token sees its own line and the lines that it names (`spans`), after Jin et al. 2024, arXiv 2404.09336.
    `engine.spans=off` reads everything.
    """

    operations: Annotated[
        int, Field(ge=1, le=named_lines.MOST_OPERATIONS, description="definitions of a problem, one operation each")
    ] = 12
    stepwise: Annotated[
        bool, Field(description="true: a thought is one line of the solution; false: a whole solution")
    ] = False

    scorer = "lines_hold"
    templates = builtin_templates("arithmetic_spans")
    spans: ClassVar[SpanGrammar] = SpanGrammar(labels=named_lines.LABELS)

    def generate(self, rng: random.Random) -> tuple[str, int]:
        definitions = named_lines.generate(rng, self.operations)
        return named_lines.render_question(definitions), named_lines.values(definitions)[definitions[-1].label]

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """The definitions and the first label; stepwise, then line after line until one has the answer."""
        if thought.answer is not None or (thought.depth and (not self.stepwise or thought.finish is not Finish.STOP)):
            return None
        whole = _LINE_TOKENS * self.operations
        if thought.depth:
            limit = min(_LINE_TOKENS, tokens_left(thought, STEPS_TO_WHOLE * whole))
            return Prompt("", appended=True, stop=("\n",), max_tokens=limit) if limit > 0 else None
        asked = self.fill(style, "solve", {"question": thought.problem.input}, whole)
        return replace(asked, stop=("\n",), max_tokens=_LINE_TOKENS) if self.stepwise else asked

    def parse(self, thought: Thought) -> int | None:
        """The value on the last line, when that is the line of the marked definition."""
        if thought.finish is Finish.LENGTH:
            return None
        return named_lines.parse_answer(named_lines.parse_question(thought.problem.input), solution_text(thought))


@oracle
def lines_hold(thought: Thought) -> Score:
    """Share of the lines so far that are right in names, numbers and arithmetic; it works the question out itself."""
    definitions = named_lines.parse_question(thought.problem.input)
    verdicts = named_lines.check_lines(definitions, solution_text(thought)) if thought.depth else []
    return Score(sum(verdicts) / max(len(verdicts), 1), final=thought.answer is not None and all(verdicts))


@oracle
def sums_hold(thought: Thought) -> float:
    """Share of the lines so far whose own arithmetic is right; it looks at no definition."""
    definitions = named_lines.parse_question(thought.problem.input)
    lines = (definitions[0].label + solution_text(thought)).split("\n") if thought.depth else []
    steps = [named_lines.parse_line(line) for line in lines]
    return sum(step is not None and step.holds for step in steps) / max(len(steps), 1)


SCORERS = {"lines_hold": lines_hold, "sums_hold": sums_hold}
