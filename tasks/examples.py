"""Worked examples in front of a question: from the problems' file, from a file of their own, or made up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from treereason.core import Problem, Prompt, UserError
from treereason.tasks.base import BaseTask
from treereason.tasks.files import bad_line, json_objects
from treereason.tasks.generators import arithmetic
from treereason.text import from_home, shown

NumExamples = Annotated[
    int, Field(ge=0, le=64, description="worked examples before the question, the same for all problems; up to 64")
]


@dataclass(frozen=True)
class Worked:
    """A question with its answer: what a line of a file gives, for a problem or for a worked example.

    answer: as an example shows it. target: as answers are compared. rationale: empty or lines that each end in a line
    end. choices: what the answer is one of, where there is a choice.
    """

    question: str
    answer: str
    target: int | str
    rationale: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExamplesTask(BaseTask):
    """A task that puts worked examples before each question, the same for all problems of a run.

    Subclasses say what a line of a file is (`row`). One of their prompts is "example", as text and as a turn.
    """

    examples: NumExamples = 0
    examples_path: Annotated[
        str | None, Field(description="file of worked examples; null: the first lines of path are the examples")
    ] = None
    examples_as: Annotated[
        Literal["text", "turns"], Field(description="text, or earlier turns of the talk for models of style chat")
    ] = "turns"

    def row(self, path: Path, line: int, value: dict[str, Any]) -> Worked:  # noqa: ARG002
        """What one line of a file holds. Raises UserError naming file and line."""
        raise UserError(f"{type(self).__name__} reads no lines: leave {path} out, or give the class a row method")

    def made_examples(self) -> list[Worked]:
        """Worked examples for generated problems."""
        return []

    def given(self, row: Worked) -> Any:
        """The input of the problem that a row states."""
        return row.question

    def shown_as(self, row: Worked, style: str) -> Mapping[str, Any]:  # noqa: ARG002
        """The values of the "example" prompt."""
        return vars(row)

    def read(self, path: Path) -> Sequence[Problem]:
        # Examples of a file of their own are read here, so that its mistakes are told before the run.
        rows, first = self._rows, 0 if self.examples_path is not None and self.worked else self.examples
        if len(rows) <= first:
            raise UserError(
                f"{path}: {len(rows)} questions leave no problem after {first} worked examples: lower task.examples"
            )
        return [Problem(str(i), self.given(row), row.target) for i, row in enumerate(rows[first:])]

    @cached_property
    def _rows(self) -> list[Worked]:
        return self._read_rows(self.path or "")

    def _read_rows(self, given: str) -> list[Worked]:
        path = Path(from_home(given))
        return [self.row(path, line, value) for line, value in json_objects(path, ())]

    @cached_property
    def worked(self) -> list[Worked]:
        """The worked examples at the head of every prompt. Raises UserError for a file that holds too few."""
        if self.examples_path is None:
            return self._rows[: self.examples] if self.path is not None else self.made_examples()
        if not self.examples:
            raise UserError("task.examples_path is of no use with task.examples=0: say how many of its lines are shown")
        rows = self._read_rows(self.examples_path)
        if len(rows) < self.examples:
            raise UserError(f"{self.examples_path}: {len(rows)} examples, not {self.examples}: see task.examples")
        return rows[: self.examples]

    def ask(self, style: str, name: str, values: Mapping[str, Any], max_tokens: int = 256) -> Prompt:
        """The prompt of that name, filled, behind the worked examples."""
        prompt = self.fill(style, name, values, max_tokens)
        filled = [self.fill(style, "example", self.shown_as(row, style)) for row in self.worked]
        if self.examples_as == "text" or style != "chat":
            return replace(prompt, shared=prompt.shared + "".join(example.text for example in filled))
        if not all(example.turns for example in filled):
            raise UserError("task.examples_as=turns: the prompt 'example' has no turns; see task.prompts")
        return replace(prompt, turns=(*prompt.turns, *(turn for example in filled for turn in example.turns)))


def text_of(path: Path, line: int, value: Mapping[str, Any], key: str, name: str = "") -> str:
    """The text under a key, without white space around it. Raises UserError where it is empty or none."""
    text = value[key]
    if not isinstance(text, str) or not text.strip():
        raise bad_line(path, line, f"the {name or key} is empty or not text: {shown(text)}")
    return text.strip()


def expect_arithmetic(questions: Sequence[str]) -> None:
    """Raises UserError for a question that the shipped model cannot read."""
    for question in questions:
        try:
            arithmetic.split_expression(question)
        except ValueError as error:
            raise UserError(
                f"the shipped model answers arithmetic such as 2+4*5 only; {error}; take another model for other "
                "questions, as model=smollm2"
            ) from None
