"""Merging overlapping documents into one: generated small contracts, or a CSV file in graph-of-thoughts' format."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Finish, Problem, Prompt, Score, Thought, UserError, label_free, oracle
from treereason.tasks.base import BaseTask, Template
from treereason.tasks.files import bad_line, csv_rows
from treereason.tasks.generators import contracts, text_overlap
from treereason.text import shown

_TAGGED = re.compile(r"<merged>(.*?)(</merged>|$)", re.DOTALL)
_WORDS_AND_SIGNS = re.compile(r"[A-Za-z]+|[^A-Za-z]")

PROMPTS = {
    "embedded": {"solve": Template("{contracts}", stop=("\n",))},
    "chat": {
        "solve": Template(
            shared="Below are documents that overlap. Write one document that keeps every statement made in any of "
            "them and says nothing twice. Keep the wording and the separators of the statements where you can. Put "
            "the new document between <merged> and </merged>, and nothing after it.\n\n",
            text="{documents}",
        ),
        "improve": Template(
            shared="Below are documents that overlap, and a draft that merges them. Find the statements that the draft "
            "leaves out, gets wrong or makes twice, then write the corrected draft in full between <merged> and "
            "</merged>, and nothing after it.\n\n",
            text="{documents}<draft>\n{attempt}\n</draft>\n",
        ),
    },
}


@dataclass(frozen=True)
class DocumentMerging(BaseTask):
    """Merge overlapping documents: generated contracts, or a CSV file with the columns id, document1, document2, ...

    An answer is scored against the clauses of generated contracts, and by shared words where a file's text is free.
    """

    documents: Annotated[int, Field(ge=2, le=8, description="contracts to merge, from 2 to 8")] = 3

    templates = PROMPTS

    @property
    def scorer(self) -> str:
        """Default scorer: a file's free text has no known clauses."""
        return "merge_quality" if self.path is None else "word_overlap"

    def generate(self, rng: random.Random) -> tuple[list[str], list[str]]:
        made = contracts.generate_documents(rng, self.documents)
        return [contracts.render_body(body).strip() for body in made], contracts.merge_documents(made)

    def read(self, path: Path) -> Sequence[Problem]:
        problems: dict[str, Problem] = {}
        for line, row in csv_rows(path, ("id", "document1", "document2")):
            columns = takewhile(lambda column: column in row, (f"document{i}" for i in count(1)))  # noqa: B023
            texts = [text for text in (row[column].strip() for column in columns) if text]
            if len(texts) < 2:
                raise bad_line(path, line, "fewer than two documents with text: give at least two")
            if row["id"] in problems:
                raise bad_line(path, line, f"the id {shown(row['id'])} occurs twice: give each row its own")
            problems[row["id"]] = Problem(row["id"], texts)
        return list(problems.values())

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Merge, or correct an earlier answer where the style has a prompt for that; None once it is perfect."""
        bodies, embedded = thought.problem.input, style == "embedded"
        done = thought.score is not None and thought.score.final
        if done or (thought.answer is not None and embedded):
            return None
        if embedded and self.path is not None:
            raise UserError("the shipped model merges generated contracts only: use another model for task.path")
        values: dict[str, Any] = {"attempt": thought.answer, "documents": _numbered(bodies)}
        values["contracts"] = contracts.render_prompt([contracts.parse_clauses(body) for body in bodies])
        size = len(_WORDS_AND_SIGNS.findall(values["contracts"])) if embedded else len(values["documents"]) // 2 + 128
        return self.fill(style, "solve" if thought.answer is None else "improve", values, max_tokens=size)

    def parse(self, thought: Thought) -> str | None:
        """The text between the last <merged> tags, or the whole text where there are none.

        Of a text that the token limit cut off only what stands between closed tags is whole.
        """
        tagged = _TAGGED.findall(thought.text)
        text, closed = tagged[-1] if tagged else (thought.text, "")
        return None if thought.finish is Finish.LENGTH and not closed else text.strip() or None

    def solved(self, problem: Problem, answer: Any) -> bool:
        """Whether the answer holds each distinct clause of generated contracts once, in any order."""
        return problem.target is not None and answer is not None and sorted(_clauses(answer)) == sorted(problem.target)


def _numbered(bodies: Sequence[str]) -> str:
    return "".join(f"<document {i}>\n{body}\n</document {i}>\n\n" for i, body in enumerate(bodies, start=1))


def _clauses(text: str) -> list[str]:
    return contracts.parse_clauses(" ".join(text.split()))


@oracle
def merge_quality(thought: Thought) -> Score:
    """Harmonic mean in [0, 1] of the shares of input clauses kept and of answer clauses not repeated or invented."""
    if thought.answer is None:
        return Score(0.0)
    value = contracts.merge_score([_clauses(body) for body in thought.problem.input], _clauses(thought.answer))
    return Score(value, final=value == 1.0)


@label_free
def word_overlap(thought: Thought) -> Score:
    """The same for free text, a proxy by shared words; see text_overlap. It knows no right answer."""
    return Score(0.0 if thought.answer is None else text_overlap.overlap(thought.problem.input, thought.answer))


SCORERS = {"merge_quality": merge_quality, "word_overlap": word_overlap}
