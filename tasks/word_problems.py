r"""Math word problems from JSON lines as they are published, after worked examples if there are any.

GSM8K (Cobbe et al. 2021, arXiv 2110.14168): `question`, and `answer` with steps and `#### 18`. MATH (Hendrycks et al.
2021, arXiv 2103.03874) and MATH-500: `problem`, `solution` with `\boxed{}`, and perhaps `answer`. A `rationale` is read
as well. Answers are compared in the form of answers.py: whole, and equal when their values are.
"""

import random
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from treereason.core import Finish, Prompt, Thought, UserError
from treereason.tasks.answers import canonical, final_answer, last_box
from treereason.tasks.base import exact_match
from treereason.tasks.examples import ExamplesTask, Worked, text_of
from treereason.tasks.files import bad_line
from treereason.tasks.latex import MathEqual
from treereason.tasks.prompt_files import builtin_templates
from treereason.tasks.steps import STEPS_TO_WHOLE, open_text, tokens_left
from treereason.text import shown

_STEP_STOPS = {"line": ("\n",), "paragraph": ("\n\n",)}
_CALCULATED = re.compile(r"<<[^<>\n]*>>")  # GSM8K's notes for a calculator
_PERCENT = re.compile(r"\\?%| ?per ?cent\b", re.IGNORECASE)
_ASKS_PERCENT = re.compile(r"\bper ?cent(?:age)?\b", re.IGNORECASE)


@dataclass(frozen=True)
class WordProblems(ExamplesTask):
    """Solve math word problems from JSON lines: GSM8K's `question` and `answer`, or MATH's `problem` and `solution`.

    Stepwise, a thought is one step, and the next thoughts continue its tokens until a step states the answer.
    """

    stepwise: Annotated[
        bool, Field(description="true: a thought is one step of the reasoning, for searches that go step by step")
    ] = False
    step: Annotated[Literal["line", "paragraph"], Field(description="a step of stepwise")] = "line"
    max_tokens: Annotated[
        Annotated[int, Field(ge=1, le=2**20)] | None,
        Field(description="tokens of a thought at most; null: enough for usual ones"),
    ] = None

    scorer = "exact_match"
    templates = builtin_templates("word_problems")

    def generate(self, rng: random.Random) -> tuple[Any, Any]:  # noqa: ARG002
        raise UserError(
            f"{type(self).__name__} needs a file: task.path=FILE, such as GSM8K's test.jsonl "
            "(github.com/openai/grade-school-math) or MATH-500's (huggingface.co/datasets/HuggingFaceH4/MATH-500)"
        )

    def row(self, path: Path, line: int, value: dict[str, Any]) -> Worked:
        asked, reason = ("question", "rationale") if "question" in value else ("problem", "solution")
        if asked not in value or not ("answer" in value or (asked == "problem" and reason in value)):
            keys = ", ".join(value) or "none"
            raise bad_line(path, line, f"expected question and answer, or problem and solution; the keys are {keys}")
        question, rationale = text_of(path, line, value, asked, "question"), value.get(reason, "")
        if not isinstance(rationale, str):
            raise bad_line(path, line, f"the {reason} is not text: {shown(rationale)}")
        answer = value["answer"] if "answer" in value else last_box(rationale)
        if answer is None and "answer" not in value:
            raise bad_line(path, line, r"the solution has no \boxed{answer}")
        steps, mark, stated = _as_text(path, line, answer).rpartition("####")
        lines = "\n".join(part.strip() for part in (rationale, steps if mark else "") if part.strip())
        target = _value(question, stated)
        if target == "":
            raise bad_line(path, line, "the answer is empty")
        shown_as = stated.strip() if isinstance(answer, str) else str(target)
        return Worked(question, shown_as, target, _CALCULATED.sub("", lines) + "\n" * bool(lines))

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """The question after the examples; stepwise, then one more step after another until one has the answer.

        Nothing is put behind a text that the model itself ended.
        """
        if thought.answer is not None or (thought.depth and (not self.stepwise or thought.finish is Finish.END)):
            return None
        question = thought.problem.input
        step, whole = self.lengths(style, question)
        stops = _STEP_STOPS[self.step]
        if thought.depth:
            left = tokens_left(thought, STEPS_TO_WHOLE * max(whole, self.max_tokens or 0))
            limit = min(self.max_tokens or step, left)
            return Prompt("", appended=True, stop=stops, max_tokens=limit) if limit > 0 else None
        limit = self.max_tokens or (step if self.stepwise else whole)
        prompt = self.ask(style, "solve", {"question": question}, limit)
        return replace(prompt, stop=stops) if self.stepwise else prompt

    def lengths(self, style: str, question: str) -> tuple[int, int]:  # noqa: ARG002
        """Token limits of one step and of a whole solution."""
        return (128 if self.step == "line" else 256), 1024

    def parse(self, thought: Thought) -> int | str | None:
        """What the text gives as its answer, see final_answer; of a step that the model did not end, what it states."""
        ended = not self.stepwise or thought.finish is Finish.END
        stated = final_answer(open_text(thought), cut=thought.finish is Finish.LENGTH, ended=ended)
        answer = "" if stated is None else _value(thought.problem.input, stated)
        return None if answer == "" else answer


def _value(question: str, stated: str) -> int | str:
    """The canonical form of an answer. Where a question asks for a percentage, 60% is 60 as files have it."""
    return canonical(_PERCENT.sub("", stated) if _ASKS_PERCENT.search(question) else stated)


def _as_text(path: Path, line: int, answer: object) -> str:
    if isinstance(answer, bool) or not isinstance(answer, (int, Decimal, str)):
        raise bad_line(path, line, f"the answer is neither text nor a number: {shown(answer)}")
    # Exact, whole numbers of any length in their digits, and short for 1e-400.
    return answer if isinstance(answer, str) else format(Decimal(answer), "f" if isinstance(answer, int) else "e")


SCORERS = {"exact_match": exact_match, "math_equal": MathEqual}
