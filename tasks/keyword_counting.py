"""Counting keywords: how often a text names each country; stories, or a CSV file in graph-of-thoughts' format."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Problem, Prompt, Score, Thought, UserError, oracle
from treereason.tasks.base import THINKING_TOKENS, BaseTask
from treereason.tasks.counts import NameCounts, count_names, counts_cell, num_errors, read_counts
from treereason.tasks.files import named_rows
from treereason.tasks.generators.travels import sentences_of, tell
from treereason.tasks.lists import runs
from treereason.tasks.prompt_files import Template, builtin_templates

UNPARSABLE = 100


@dataclass(frozen=True)
class KeywordCounting(BaseTask):
    """Count how often a text names each country: random stories, or a CSV file with columns ID, Text, Countries.

    Besta et al. 2023, arXiv 2308.09687, section 5.3. An answer is a JSON object such as {"Peru": 2, "Chile": 1}.
    """

    sentences: Annotated[int, Field(ge=1, le=256, description="sentences of a random story")] = 14

    scorer = "count_errors"
    templates = builtin_templates("keyword_counting")

    def generate(self, rng: random.Random) -> tuple[str, dict[str, int]]:
        return tell(rng, self.sentences)

    def read(self, path: Path) -> Sequence[Problem]:
        return [
            Problem(row["ID"], row["Text"], counts_cell(path, line, row["Countries"], row["Text"]))
            for line, row in named_rows(path, ("ID", "Text", "Countries"))
        ]

    def template(self, style: str, name: str) -> Template:
        if style == "embedded" and self.prompts is None:
            raise UserError("the shipped model counts no keywords: use another one, model=transformers model.name=NAME")
        return super().template(style, name)

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Count, or correct an earlier answer; None once a scorer found it perfect."""
        text = thought.problem.input
        if thought.score is not None and thought.score.final:
            return None
        if thought.answer is None:
            return self.part_prompt(text, style)
        values, room = {"text": text, "attempt": _json(thought.answer)}, THINKING_TOKENS + _room(text)
        return self.fill(style, "improve", values, max_tokens=room)

    def parse(self, thought: Thought) -> dict[str, int] | None:
        return read_counts(thought.text)

    def solved(self, problem: Problem, answer: Any) -> bool:
        """Whether all counts are right; a country with count 0 may be there or not."""
        return problem.target is not None and answer is not None and Counter(answer) == Counter(problem.target)

    def split(self, problem: Problem, parts: int) -> list[Any]:
        """Runs of sentences."""
        return [" ".join(run) for run in runs(sentences_of(problem.input), parts)]

    def part_prompt(self, part: Any, style: str) -> Prompt:
        """Asks for the counts in a text."""
        return self.fill(style, "solve", {"text": part}, max_tokens=_room(part))

    def parse_part(self, thought: Thought) -> dict[str, int] | None:
        """The counts that a part's thought states, read as `parse` does."""
        return self.parse(thought)

    @oracle
    def score_part(self, thought: Thought) -> Score:
        """As `count_errors`, for the countries of the text that the part names."""
        return _score(count_names(thought.data["part"], thought.problem.target), self.parse_part(thought))

    def aggregate_prompt(self, thoughts: Sequence[Thought], style: str) -> Prompt:
        """Asks for the sum of the counts. Raises UserError for thoughts that each answer the whole problem."""
        if not all("part" in thought.data for thought in thoughts):
            raise UserError("counts are added over the parts of a text only: put split in front of aggregate")
        counts = "\n".join(_json(self.parse_part(thought) or {}) for thought in thoughts)
        return self.fill(style, "aggregate", {"counts": counts}, max_tokens=_room(counts))


def _json(counts: NameCounts) -> str:
    return json.dumps(counts, ensure_ascii=False)


def _room(text: str) -> int:
    """Tokens for an object of what a text may name."""
    return len(text) // 4 + 128


def _score(counts: NameCounts, answer: NameCounts | None) -> Score:
    errors = UNPARSABLE if answer is None else num_errors(counts, answer)
    return Score(-errors, final=errors == 0)


@oracle
def count_errors(thought: Thought) -> Score:
    """Minus the errors: how far off the counts are, over all countries of text and answer; -100 without an answer."""
    return _score(thought.problem.target, thought.answer)


SCORERS = {"count_errors": count_errors}
