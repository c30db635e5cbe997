"""Merging overlapping documents into one: generated small contracts, or a CSV file in graph-of-thoughts' format."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from statistics import harmonic_mean
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Finish, Problem, Prompt, Thought, UserError
from treereason.tasks.base import THINKING_TOKENS, BaseTask
from treereason.tasks.files import bad_line, named_rows
from treereason.tasks.generators import contracts
from treereason.tasks.merge_scorers import SCORERS as SCORERS
from treereason.tasks.merge_scorers import clauses_of
from treereason.tasks.prompt_files import builtin_templates
from treereason.tasks.steps import STEPS_TO_WHOLE, path_text, tokens_left
from treereason.tasks.tagged import grades, last_tagged, numbered

_CLAUSE_END, _CLAUSE_TOKENS = ";", 64
_WORDS_AND_SIGNS = re.compile(r"[A-Za-z]+|[^A-Za-z]")


@dataclass(frozen=True)
class DocumentMerging(BaseTask):
    """Merge overlapping documents: generated contracts, or a CSV file with the columns id, document1, document2, ...

    An answer is scored against the clauses of generated contracts, and by shared words where a file's text is free. In
    Besta et al. 2023, arXiv 2308.09687, section 5.4, the model itself is the judge: see `judge_prompt`.
    """

    documents: Annotated[int, Field(ge=2, le=8, description="contracts to merge, from 2 to 8")] = 3
    stepwise: Annotated[
        bool, Field(description="true: a thought is one clause of the answer, for searches that go step by step")
    ] = False

    templates = builtin_templates("document_merging")

    @property
    def scorer(self) -> str:
        """Default scorer: a file's free text has no known clauses."""
        return "merge_quality" if self.path is None else "word_overlap"

    def generate(self, rng: random.Random) -> tuple[list[str], list[str]]:
        made = contracts.generate_documents(rng, self.documents)
        return [contracts.render_body(body).strip() for body in made], contracts.merge_documents(made)

    def read(self, path: Path) -> Sequence[Problem]:
        problems = []
        for line, row in named_rows(path, ("id", "document1", "document2")):
            columns = takewhile(lambda column: column in row, (f"document{i}" for i in count(1)))  # noqa: B023
            texts = [text for text in (row[column].strip() for column in columns) if text]
            if len(texts) < 2:
                raise bad_line(path, line, "fewer than two documents with text: give at least two")
            problems.append(Problem(row["id"], texts))
        return problems

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Merge, or correct an earlier answer where the style has a prompt for that; None once it is perfect."""
        bodies, attempt = thought.problem.input, thought.answer
        if attempt is None and thought.depth and self.stepwise:
            if thought.stop != _CLAUSE_END:  # it ended without an answer
                return None
            whole = self._ask(bodies, style, "solve", attempt="").max_tokens
            limit = min(_CLAUSE_TOKENS, tokens_left(thought, STEPS_TO_WHOLE * whole))
            return Prompt("", appended=True, stop=(_CLAUSE_END,), max_tokens=limit) if limit > 0 else None
        if (thought.score is not None and thought.score.final) or (attempt is not None and style == "embedded"):
            return None
        asked = self._ask(bodies, style, "solve" if attempt is None else "improve", attempt=attempt or "")
        return replace(asked, stop=(*asked.stop, _CLAUSE_END)) if self.stepwise and attempt is None else asked

    def parse(self, thought: Thought) -> str | None:
        """The text between the last <merged> tags, or the whole text where there are none; of steps, of all of them."""
        if thought.stop == _CLAUSE_END:
            return None
        return last_tagged(path_text(thought), "merged", cut=thought.finish is Finish.LENGTH)

    def solved(self, problem: Problem, answer: Any) -> bool:
        """Whether the answer holds each distinct clause of generated contracts once, in any order."""
        known = problem.target is not None and answer is not None
        return known and sorted(clauses_of(answer)) == sorted(problem.target)

    def aggregate_prompt(self, thoughts: Sequence[Thought], style: str) -> Prompt:
        """Asks for one merged document made of several; the shipped model merges them like documents."""
        drafts = [thought.answer or "" for thought in thoughts]
        if style == "embedded":
            return self._ask(drafts, style, "aggregate")
        return self._ask(thoughts[0].problem.input, style, "aggregate", drafts=numbered(drafts, "draft"))

    def judge_prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Asks for two grades of the answer, from 0 to 10; None for a thought without one."""
        if thought.answer is None:
            return None
        asked = self._ask(thought.problem.input, style, "judge", attempt=thought.answer)
        return replace(asked, max_tokens=THINKING_TOKENS)

    def parse_value(self, text: str) -> float | None:
        """Harmonic mean in [0, 10] of the last grades of a judge, for no redundancy and for what is retained."""
        found = grades(text, ("redundancy", "retained"), best=10)
        return None if found is None else harmonic_mean(found)

    def _ask(self, bodies: Sequence[str], style: str, name: str, **values: str) -> Prompt:
        embedded, documents = style == "embedded", numbered(bodies, "document")
        if embedded and self.path is not None:
            raise UserError("the shipped model merges generated contracts only: use another model for task.path")
        text = contracts.render_prompt([contracts.parse_clauses(body) for body in bodies])
        size = len(_WORDS_AND_SIGNS.findall(text)) if embedded else len(documents) // 2 + 128
        return self.fill(style, name, {"documents": documents, "contracts": text, **values}, max_tokens=size)
