"""Questions after worked examples, with a chain of thought: generated arithmetic, or a JSON-lines file.

A file has one object per line with `question`, `answer` and perhaps `rationale`; an answer of the form
`steps #### 22` is taken apart. The file's first `examples` lines are the worked examples, the others the problems.
Answers are compared in the form of answers.py: whole, and equal when their values are. For LaTeX expressions there is
the scorer latex.py.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Finish, Problem, Prompt, Score, Thought, UserError, oracle
from treereason.tasks.answers import canonical, statement
from treereason.tasks.base import BaseTask, Template
from treereason.tasks.files import bad_line, json_objects
from treereason.tasks.generators import arithmetic
from treereason.text import from_home, shown

_STEPWISE_STOP = ("\n",)

PROMPTS = {
    "embedded": {
        "solve": Template("Q{question}\n", stop=("\nQ",)),
        "example": Template("Q{question}\n{rationale}A{answer}\n"),
        "verdict": Template("?", choices=("+", "-")),
    },
    "chat": {
        "solve": Template(
            shared="Answer the last question. Work it out in small steps, one line a step, and end with the line "
            '"The answer is X." where X is the answer alone.\n\n',
            text="Question: {question}\nSteps:\n",
            stop=("\nQuestion:",),
        ),
        "example": Template("Question: {question}\nSteps:\n{rationale}The answer is {answer}.\n\n"),
    },
}


@dataclass(frozen=True)
class Worked:
    """A question with its answer; `rationale` is empty or lines that each end in a line end."""

    question: str
    answer: int | str
    rationale: str = ""


@dataclass(frozen=True)
class FewShot(BaseTask):
    """Answer questions after worked examples: generated arithmetic, or JSON lines with question and answer.

    Stepwise, a thought is one line, and the next thoughts continue its tokens until a line states the answer.
    """

    operations: Annotated[int, Field(ge=1, le=20, description="operations in a generated question, up to 20")] = 4
    examples: Annotated[
        int, Field(ge=0, le=64, description="worked examples before the question, the same for all problems; up to 64")
    ] = 8
    stepwise: Annotated[
        bool,
        Field(description="true: a thought is one line of the reasoning, for searches that go step by step"),
    ] = False
    examples_seed: Annotated[
        int,
        Field(
            ge=0, lt=2**63, description="generated examples depend on it and not on seed, so all runs share one prompt"
        ),
    ] = 0

    scorer = "exact_match"
    templates = PROMPTS

    def generate(self, rng: random.Random) -> tuple[str, int]:
        taken = {example.question for example in self.worked}
        while (expression := arithmetic.generate_expression(rng, self.operations)) in taken:
            pass
        return expression, arithmetic.evaluate(expression)

    def read(self, path: Path) -> Sequence[Problem]:
        rows = self._rows
        if len(rows) <= self.examples:
            raise UserError(
                f"{path}: {len(rows)} questions leave no problem after {self.examples} worked examples: lower "
                "task.examples"
            )
        return [Problem(str(i), row.question, row.answer) for i, row in enumerate(rows[self.examples :])]

    @cached_property
    def _rows(self) -> list[Worked]:
        path = Path(from_home(self.path or ""))
        return [_worked(path, line, value) for line, value in json_objects(path, ("question", "answer"))]

    @cached_property
    def worked(self) -> list[Worked]:
        """The worked examples at the head of every prompt."""
        if self.path is not None:
            return self._rows[: self.examples]
        rng = random.Random(f"examples/{self.examples_seed}")
        made: dict[str, Worked] = {}
        while len(made) < self.examples:
            question = arithmetic.generate_expression(rng, self.operations)
            steps = "".join(f"={line}\n" for line in arithmetic.solve(question, rng))
            made.setdefault(question, Worked(question, arithmetic.evaluate(question), steps))
        return list(made.values())

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """The question after the examples; stepwise, then one more line after another until one has the answer.

        Nothing is put behind a text that the model itself ended.
        """
        if thought.answer is not None or (thought.depth and (not self.stepwise or thought.finish is Finish.END)):
            return None
        question = thought.problem.input
        if style == "embedded":
            _expect_arithmetic([question, *(example.question for example in self.worked)])
        line, whole = _lengths(style, question)
        if thought.depth:
            return Prompt("", appended=True, stop=_STEPWISE_STOP, max_tokens=line)
        solve, example = self.template(style, "solve"), self.template(style, "example")
        shared = solve.shared + "".join(example.text.format(**vars(worked)) for worked in self.worked)
        text = solve.text.format(question=question)
        if self.stepwise:
            return Prompt(text, shared=shared, stop=_STEPWISE_STOP, max_tokens=line, today=self.today)
        return Prompt(text, shared=shared, stop=solve.stop, max_tokens=whole, today=self.today)

    def parse(self, thought: Thought) -> int | str | None:
        """What the first line `A22` states for the shipped model, for others the last "the answer is ...".

        A statement that the token limit cut off is none; with more text behind it, it is whole.
        """
        text, cut = _open_line(thought), thought.finish is Finish.LENGTH
        first = _first(thought)
        terse = first.prompt.endswith(arithmetic.render_question(thought.problem.input))
        if not terse:
            stated = statement(text, cut=cut)
            answer = "" if stated is None else canonical(stated)
            if answer != "":
                return answer
        if terse or not first.prompt:  # a thought that was made by hand may be in either form
            return arithmetic.parse_answer(text.rpartition("\n")[0] if cut else text)
        return None


def _first(thought: Thought) -> Thought:
    """The thought whose prompt is one of its own, at the head of all that was appended to it down to this one."""
    while thought.appended and thought.parent is not None:
        thought = thought.parent
    return thought


def _open_line(thought: Thought) -> str:
    """The thought's text, behind those that it continues in mid-line because their limit had cut them off."""
    text = thought.text
    while thought.appended and (above := thought.parent) is not None and above.finish is Finish.LENGTH:
        text, thought = above.text + thought.prompt + text, above
    return text


def _lengths(style: str, question: str) -> tuple[int, int]:
    """Token limits of one line and of a whole solution; for the shipped model a line has one operation less each."""
    if style != "embedded":
        return 128, 512
    operations = sum(question.count(operator) for operator in "+-*")
    return 4 * operations + 8, 2 * (operations + 1) * (operations + 2) + 8


def _expect_arithmetic(questions: Sequence[str]) -> None:
    for question in questions:
        try:
            arithmetic.split_expression(question)
        except ValueError as error:
            raise UserError(f"the shipped model answers arithmetic such as 2+4*5 only; {error}") from None


def _worked(path: Path, line: int, value: dict[str, Any]) -> Worked:
    question, answer, rationale = value["question"], value["answer"], value.get("rationale", "")
    if not isinstance(question, str) or not question.strip():
        raise bad_line(path, line, f"the question is empty or not text: {shown(question)}")
    if isinstance(answer, bool) or not isinstance(answer, (int, Decimal, str)):
        raise bad_line(path, line, f"the answer is neither text nor a number: {shown(answer)}")
    if not isinstance(rationale, str):
        raise bad_line(path, line, f"the rationale is not text: {shown(rationale)}")
    # Exact, whole numbers of any length in their digits, and short for 1e-400.
    stated = answer if isinstance(answer, str) else format(Decimal(answer), "f" if isinstance(answer, int) else "e")
    steps, mark, last = stated.rpartition("####")
    lines = "\n".join(part.strip() for part in (rationale, steps if mark else "") if part.strip())
    wanted = canonical(last)
    if wanted == "":
        raise bad_line(path, line, "the answer is empty")
    return Worked(question.strip(), wanted, lines + "\n" if lines else "")


@oracle
def exact_match(thought: Thought) -> Score:
    """1 when the answer equals the target, else 0."""
    right = thought.answer is not None and thought.answer == thought.problem.target
    return Score(float(right), final=right)


def solution_text(thought: Thought) -> str:
    """The lines of all thoughts from the root to this one, whether a thought is one line or a whole solution."""
    texts: list[str] = []
    above: Thought | None = thought
    while above is not None and above.depth:
        texts.append(above.text)
        above = above.parent
    return "\n".join(reversed(texts))


@oracle
def steps_hold(thought: Thought) -> Score:
    """Share of lines that keep the value of the line before them, 0 without lines; the answer line counts as one.

    It never looks at the target but evaluates the question, which is as good. Raises ValueError for a question that
    is not an arithmetic expression.
    """
    question, text = thought.problem.input, solution_text(thought)
    verdicts = arithmetic.check_steps(question, text)
    if thought.answer is not None and verdicts:
        last = text.split("\n")[len(verdicts) - 1]
        verdicts.append(_equals(last[1:], thought.answer))
    if not verdicts:
        return Score(0.0)
    return Score(sum(verdicts) / len(verdicts), final=thought.answer is not None and all(verdicts))


def _equals(expression: str, answer: int | str) -> bool:
    try:
        return arithmetic.evaluate(expression) == answer
    except ValueError:
        return False


SCORERS = {"exact_match": exact_match, "steps_hold": steps_hold}
