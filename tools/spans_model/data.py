"""Training texts made on the fly: every step is a pure function of the seed and its number, whatever the mask."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch

from tools.spans_model.tokenizer import BOS, EOS, PAD, encode_text
from treereason.core.spans import SpanGrammar, SpanPolicy, views
from treereason.tasks.arithmetic_spans import ArithmeticSpans
from treereason.tasks.document_merging_spans import DocumentMergingSpans
from treereason.tasks.generators import contracts, labelled_clauses, named_lines

IGNORED = -100
LARGEST_PROBLEM = 16
LONGEST_REACH = 2900
"""Positions that the gaps of a text add at most: as far as lines lie apart in texts of 96 operations, and more."""
Mask = Literal["spans", "full"]
Skill = Literal["arithmetic", "documents"]
GRAMMARS: dict[Skill, SpanGrammar] = {"arithmetic": ArithmeticSpans.spans, "documents": DocumentMergingSpans.spans}
NEWLINE = encode_text("\n")[0]


@dataclass(frozen=True)
class Text:
    """Token ids and shifted targets [L], IGNORED where nothing is learned, and the position of each token."""

    ids: list[int]
    targets: list[int]
    positions: list[int]


@dataclass(frozen=True)
class MicroBatch:
    """ids, targets, positions: int64 [B, L]. mask: bool [B, 1, L, L], true where a row sees a column."""

    ids: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor


def encode(question: str, solution: str) -> tuple[list[int], list[int]]:
    """Ids and targets of a solved problem: the solution and <eos> behind it are learned."""
    asked, answer = [BOS, *encode_text(question)], encode_text(solution)
    return asked + answer, [IGNORED] * (len(asked) - 1) + answer + [EOS]


def positions(ids: Sequence[int], rng: random.Random, *, gaps: bool) -> list[int]:
    """The position of each token. With gaps the starts of lines jump, by as much as in a much longer text.

    Draws the same from `rng` with gaps or without, so that the texts behind it are the same.
    """
    reach = int(2 ** rng.uniform(6, np.log2(LONGEST_REACH))) if rng.random() < 0.75 else 0
    starts = [1] + [i + 1 for i, token in enumerate(ids) if token == NEWLINE] + [len(ids)]
    jumps = sorted(rng.randint(0, reach) for _ in starts[1:])
    found = [0]
    for (start, end), jump in zip(pairwise(starts), jumps, strict=True):
        found += range(start + jump * gaps, end + jump * gaps)
    return found


def make_text(rng: random.Random, skill: Skill, *, gaps: bool) -> Text:
    """A solved problem: of 1 to 16 operations, or of 2 to 4 documents of up to 5 clauses."""
    if skill == "arithmetic":
        definitions = named_lines.generate(rng, rng.randint(1, LARGEST_PROBLEM))
        question, answer = named_lines.render_question(definitions), named_lines.solve(definitions)
    else:
        documents = contracts.generate_documents(rng, rng.randint(2, 4), (1, 5), rng.choice((0.2, 0.45, 0.7)))
        first = rng.randrange(len(named_lines.LABELS))
        question, answer = (
            render(documents, first) for render in (labelled_clauses.render_question, labelled_clauses.render_answer)
        )
    ids, targets = encode(question, answer)
    return Text(ids, targets, positions(ids, rng, gaps=gaps))


def mask_of(policy: SpanPolicy, ids: Sequence[int]) -> np.ndarray:
    """What each row sees: bool [L, L], as treereason.core.spans.visible, made faster."""
    mask = np.zeros((len(ids), len(ids)), dtype=bool)
    for row, (earlier, own) in enumerate(views(policy, ids)):
        for first, last in earlier:
            mask[row, first:last] = True
        mask[row, own : row + 1] = True
    return mask


def batch(texts: Sequence[Text], policy: SpanPolicy | None) -> MicroBatch:
    """Texts as one batch, padded at the right; policy None: each token sees all before it."""
    width = max(len(text.ids) for text in texts)
    ids = torch.full((len(texts), width), PAD)
    targets = torch.full((len(texts), width), IGNORED)
    places = torch.zeros((len(texts), width), dtype=torch.long)
    mask = torch.ones(width, width, dtype=torch.bool).tril().repeat(len(texts), 1, 1, 1)
    for row, text in enumerate(texts):
        length = len(text.ids)
        ids[row, :length] = torch.tensor(text.ids)
        targets[row, :length] = torch.tensor(text.targets)
        places[row, :length] = torch.tensor(text.positions)
        if policy is not None:
            mask[row, 0, :length, :length] = torch.from_numpy(mask_of(policy, text.ids))
    return MicroBatch(ids, targets, places, mask)


def make_step(
    skill: Skill, seed: int, step: int, tokens: int, micro_batches: int, mask: Mask, *, gaps: bool
) -> list[MicroBatch]:
    """Texts of about `tokens` ids together, sorted by length into micro-batches.

    The ids and targets are the same for every mask, with gaps or without.
    """
    rng = random.Random(f"{seed}/{step}")
    texts: list[Text] = []
    while sum(len(text.ids) for text in texts) < tokens:
        texts.append(make_text(rng, skill, gaps=gaps))
    texts.sort(key=lambda text: len(text.ids))
    policy = GRAMMARS[skill].policy(encode_text) if mask == "spans" else None
    bounds = [round(len(texts) * i / micro_batches) for i in range(micro_batches + 1)]
    return [batch(texts[first:last], policy) for first, last in pairwise(bounds) if first < last]
