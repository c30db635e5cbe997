"""Merging documents with labelled clauses: a line of the answer names the clause that it copies, and reads no other."""

import random
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from treereason.core import Finish, Problem, Prompt, Thought
from treereason.core.spans import SpanGrammar
from treereason.tasks.base import BaseTask
from treereason.tasks.generators import contracts, labelled_clauses, named_lines
from treereason.tasks.merge_scorers import SCORERS as SCORERS
from treereason.tasks.merge_scorers import clauses_of
from treereason.tasks.prompt_files import builtin_templates

_CLAUSE_TOKENS = 16


@dataclass(frozen=True)
class DocumentMergingSpans(BaseTask):
    """Merge generated contracts whose clauses have labels: heads of lines read everything, bodies their clause alone.

    No shipped model has learned it: `python -m tools.spans_model.train --skill documents` trains one.
    """

    documents: Annotated[int, Field(ge=2, le=8, description="contracts to merge, from 2 to 8")] = 3

    scorer = "merge_quality"
    templates = builtin_templates("document_merging_spans")
    spans: ClassVar[SpanGrammar] = SpanGrammar(labels=named_lines.LABELS, wide=True)

    def generate(self, rng: random.Random) -> tuple[list[str], list[str]]:
        made = contracts.generate_documents(rng, self.documents)
        return [contracts.render_body(body).strip() for body in made], contracts.merge_documents(made)

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """The labelled clauses, asked once."""
        if thought.depth:
            return None
        documents = [contracts.parse_clauses(body) for body in thought.problem.input]
        room = _CLAUSE_TOKENS * (sum(map(len, documents)) + 1)
        return self.fill(style, "solve", {"question": labelled_clauses.render_question(documents)}, room)

    def parse(self, thought: Thought) -> str | None:
        """The clauses of the answer's lines, as the body of a document."""
        if thought.finish is Finish.LENGTH:
            return None
        return contracts.render_body(labelled_clauses.parse_clauses(thought.text)).strip() or None

    def solved(self, problem: Problem, answer: Any) -> bool:
        """Whether the answer holds each distinct clause once, in any order."""
        return answer is not None and sorted(clauses_of(answer)) == sorted(problem.target)
