"""Scorers of merged documents: by the clauses of generated contracts, and by shared words where a text is free."""

from treereason.core import Score, Thought, label_free, oracle
from treereason.tasks.generators import contracts, text_overlap
from treereason.tasks.steps import path_text
from treereason.tasks.tagged import last_tagged


def clauses_of(text: str) -> list[str]:
    """The clauses of a text, on whatever lines they stand."""
    return contracts.parse_clauses(" ".join(text.split()))


def written(thought: Thought) -> str:
    """The merged document, or what a thought that is only a step has of it so far; empty where there is neither."""
    so_far = last_tagged(path_text(thought), "merged") if thought.stop == ";" else None
    return thought.answer or so_far or ""


@oracle
def merge_quality(thought: Thought) -> Score:
    """Harmonic mean in [0, 1] of the shares of input clauses kept and of answer clauses not repeated or invented.

    Of a thought that is only a step: of the clauses so far, and never final.
    """
    value = contracts.merge_score([clauses_of(body) for body in thought.problem.input], clauses_of(written(thought)))
    return Score(value, final=value == 1.0 and thought.answer is not None)


@label_free
def word_overlap(thought: Thought) -> Score:
    """The same for free text, a proxy by shared words; see text_overlap. It knows no right answer."""
    return Score(text_overlap.overlap(thought.problem.input, written(thought)))


SCORERS = {"merge_quality": merge_quality, "word_overlap": word_overlap}
