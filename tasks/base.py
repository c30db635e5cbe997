"""Defaults for tasks, so that a new task states only what is its own."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from treereason.core import Finish, Problem, Prompt, Score, Thought, UserError, oracle
from treereason.core.prompt import is_day
from treereason.tasks.prompt_files import Template, Templates, replaced
from treereason.text import from_home

NUM_GENERATED = 100
THINKING_TOKENS = 512
"""Room in a reply for what a model may think before its answer, where a prompt lets it."""
SHIPPED = {"embedded": "model=embedded", "spans": "model=embedded_spans", "chat": "model=smollm2"}
"""A model of each style that needs no hub."""
MOST_PROBLEMS = 100_000  # all are made, and held, before the first is solved


def _day(given: str) -> str:
    if not is_day(given):
        raise ValueError("give a day as 2026-11-26")
    return given


@dataclass(frozen=True)
class BaseTask:
    """A task that generates its problems or reads them from `path`, and asks once for each.

    Subclasses set `templates` and `scorer` and override what differs: `generate` or `read`, then `prompt`, `parse`
    and `solved` as needed.
    """

    path: Annotated[str | None, Field(description="file with the problems; null: problems are generated")] = None
    limit: Annotated[
        Annotated[int, Field(ge=1, le=MOST_PROBLEMS)] | None,
        Field(description=f"at most this many problems; null: all of the file, or {NUM_GENERATED} generated ones"),
    ] = None

    prompts: Annotated[
        str | None, Field(description="YAML file whose prompts take the place of the task's own; null: none")
    ] = field(default=None, kw_only=True)
    today: Annotated[
        str,
        AfterValidator(_day),
        Field(description="the date that a dated chat template shows; by default the day of the run"),
    ] = field(default_factory=lambda: date.today().isoformat(), kw_only=True)

    templates: ClassVar[Templates] = {}

    def generate(self, rng: random.Random) -> tuple[Any, Any]:  # noqa: ARG002
        """Input and target of one fresh problem, drawn from `rng` alone."""
        raise UserError(f"{type(self).__name__} generates no problems: give it a file with task.path=FILE")

    def read(self, path: Path) -> Sequence[Problem]:
        """All problems of a file. Raises UserError naming file and line."""
        raise UserError(f"{type(self).__name__} reads no files: leave task.path={path} out")

    def problems(self, seed: int) -> Sequence[Problem]:
        """The first `limit` problems: all of the file by default, 100 of the generator.

        A generated problem depends on the seed, its number, the task's fields and the class that defines `generate`,
        so that a subclass with other prompts gets the same problems. It never depends on `limit`.
        """
        if self.path is not None:
            try:
                found = self.read(Path(from_home(self.path)))
            except MemoryError:
                raise UserError(f"{self.path}: its problems need more memory than there is: split it") from None
            if not found:
                raise UserError(f"{self.path} has no problems in it")
            return found[: self.limit]
        generator = next(cls for cls in type(self).__mro__ if "generate" in vars(cls)).__name__
        numbers = range(self.limit or NUM_GENERATED)
        made = (self.generate(random.Random(f"{generator}/{seed}/{i}")) for i in numbers)
        return [Problem(str(i), *pair) for i, pair in enumerate(made)]

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """The "solve" template filled with the problem's input (a mapping), asked once."""
        return self.fill(style, "solve", thought.problem.input) if thought.depth == 0 else None

    def parse(self, thought: Thought) -> Any:
        """The thought's text without outer white space; None when nothing is left, or the token limit cut it off."""
        return None if thought.finish is Finish.LENGTH else thought.text.strip() or None

    def solved(self, problem: Problem, answer: Any) -> bool:
        """Whether the answer equals the target."""
        return problem.target is not None and bool(answer == problem.target)

    def fill(self, style: str, name: str, values: Mapping[str, Any], max_tokens: int = 256) -> Prompt:
        """One of the task's templates with its placeholders replaced. Raises UserError for a style without prompts."""
        template = self.template(style, name)
        return Prompt(
            template.text.format(**values),
            shared=template.shared,
            stop=template.stop,
            max_tokens=max_tokens,
            system=template.system.format(**values),
            turns=template.filled_turns(values),
            today=self.today,
        )

    def template(self, style: str, name: str) -> Template:
        """The template of that name for a style. Raises UserError where there is none."""
        templates = self._templates
        named = templates.get(style)
        if style == "plain" and "chat" in templates:  # its words are as good without a chat template around them
            named = {**templates["chat"], **(named or {})}
        if named is None:
            known = ", ".join([*templates, *({"plain"} if "chat" in templates else set()) - set(templates)]) or "none"
            other = next((f", such as {SHIPPED[each]}" for each in templates if each in SHIPPED), "")
            raise UserError(
                f"{type(self).__name__} has no prompts for models of style {style!r}, only for: {known}; take another "
                f"model{other}, see model.style, or give prompts with task.prompts=FILE"
            )
        if name not in named:
            raise UserError(
                f"{type(self).__name__} has no prompt {name!r} for models of style {style!r}; see task.prompts"
            )
        return named[name]

    @cached_property
    def _templates(self) -> Templates:
        return self.templates if self.prompts is None else replaced(self.templates, Path(from_home(self.prompts)))


@oracle
def exact_match(thought: Thought) -> Score:
    """1 when the answer equals the target, else 0."""
    right = thought.answer is not None and thought.answer == thought.problem.target
    return Score(float(right), final=right)


SCORERS = {"exact_match": exact_match}
"""Scorers of every task that is derived from BaseTask."""
