"""Training data made on the fly: every step's micro-batches are a pure function of the seed and the step number."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tools.embedded_model import lists, numbers, verdicts
from tools.embedded_model.attempts import Attempt
from tools.embedded_model.tokenizer import BOS, EOS, PAD, encode_text
from treereason.tasks.generators import arithmetic, contracts

IGNORED = -100
# One entry is one micro-batch of every step: the tasks that learn slowest get most of it.
STEP_PLAN = (*("arithmetic",) * 4, *("verdicts",) * 2, "documents", "lists", "numbers")
_LISTS = (lists.sort_problem, lists.merge_problem, lists.fix_problem)
_OVERSAMPLING = 3

Segments = list[tuple[str, bool]]
"""A training text in order, cut into pieces; True marks an answer, which is learned and closed by <eos>."""


@dataclass(frozen=True)
class MicroBatch:
    """Token ids and shifted targets, both int64 [B, L]; targets hold IGNORED where nothing is learned.

    positions: int64 [B, L], and mask: bool [B, 1, L, L], true where a row sees a column, of texts that are trees. None
    for texts in order, where padding at the right needs no mask.
    """

    ids: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor | None = None
    mask: torch.Tensor | None = None


def warm_up(step: int, steps: int) -> float:
    """Share in (0, 1] of the largest problem size that is used in a step; full size after `steps` steps."""
    return min(1.0, 0.25 + 0.75 * step / steps) if steps else 1.0


def _list_maker(rng: random.Random, size: float) -> Callable[[], Segments]:
    make = rng.choice(_LISTS)
    count = rng.randint(4, max(4, round(rng.choice((24, 64, 64)) * size)))

    def one() -> Segments:
        prompt, answer = make(rng, count)
        return [(prompt, False), (answer, True)]

    return one


def _arithmetic_maker(rng: random.Random, size: float) -> Callable[[], Segments]:
    examples = rng.randint(0, 8)
    steps = examples == 0 or rng.random() < 0.9
    hardest = max(2, round(6 * size))
    operations = rng.randint(1, hardest)
    alike = rng.random() < 0.7

    def one() -> Segments:
        segments: Segments = []
        for i in range(examples + 1):
            count = operations if alike else rng.randint(1, hardest)
            ((asked, solution),) = arithmetic.solved_examples(rng, 1, count, steps=steps)
            question = arithmetic.render_question(asked)
            # Without an example nothing says that the answer alone is wanted.
            segments += [("\n" + question if i else question, False), (solution, steps or i > 0)]
        return segments

    return one


def _document_maker(rng: random.Random, size: float) -> Callable[[], Segments]:
    count = rng.randint(2, 4)
    largest = max(1, round(rng.choice((3, 5, 5, 8) if count == 2 else (3, 5)) * size))
    clauses = (max(1, largest - 2), largest)
    shared = rng.choice((0.2, 0.45, 0.7))
    draft = count < 4 and rng.random() < 0.2

    def one() -> Segments:
        documents = contracts.generate_documents(rng, count, clauses, shared)
        if draft:
            documents.append(_draft(rng, documents))
        answer = contracts.render_body(contracts.merge_documents(documents))
        return [(contracts.render_prompt(documents), False), (answer, True)]

    return one


def _draft(rng: random.Random, documents: Sequence[Sequence[str]]) -> list[str]:
    """An unfinished merge as a further document, so that the model can also repair its own answers."""
    kept = [clause for clause in contracts.merge_documents(documents) if rng.random() < 0.8]
    slips = [contracts.vary_clause(rng, clause) for clause in kept if rng.random() < 0.05]
    repeats = [clause for clause in kept if rng.random() < 0.1]
    return [*kept, *slips, *repeats] or [documents[0][0]]


def _number_maker(rng: random.Random, size: float) -> Callable[[], Segments]:
    sets = rng.random() < 0.5
    count = rng.randint(2, max(3, round(16 * size))) if sets else rng.choice((3, 4, 4))
    make = numbers.meet_problem if sets else numbers.countdown_problem

    def one() -> Segments:
        prompt, answer = make(rng, count)
        return [(prompt, False), (answer, True)]

    return one


_MAKERS = {
    "arithmetic": _arithmetic_maker,
    "documents": _document_maker,
    "lists": _list_maker,
    "numbers": _number_maker,
}


def encode(segments: Segments) -> tuple[list[int], list[int]]:
    """Ids [L] and targets [L] of one text: every token of an answer, then <eos>, is a target; the rest IGNORED."""
    ids = [BOS]
    targets: list[int] = []
    closing = False
    for text, learned in segments:
        piece = encode_text(text)
        wanted = piece if learned else [IGNORED] * len(piece)
        targets += [EOS, *wanted[1:]] if closing else wanted
        ids += piece
        closing = learned
    return ids, [*targets, EOS if closing else IGNORED]


def _length(encoded: tuple[list[int], list[int]]) -> int:
    return len(encoded[0])


def make_micro_batch(
    task: str, rng: random.Random, tokens: int, size: float, attempts: Sequence[Attempt] = ()
) -> MicroBatch:
    """One task's texts of similar length, about `tokens` ids together; `size` in (0, 1] scales the problems.

    attempts: of which "verdicts" are made. Raises KeyError for a task that is not in STEP_PLAN.
    """
    if task == "verdicts":
        return verdict_batch(rng, tokens, attempts)
    one = _MAKERS[task](rng, size)
    first = encode(one())
    rows = max(1, round(tokens / len(first[0])))
    pool = sorted([first, *(encode(one()) for _ in range(_OVERSAMPLING * rows - 1))], key=_length)
    start = rng.randrange(len(pool) - rows + 1)
    chosen = pool[start : start + rows]
    width = _length(chosen[-1])
    return MicroBatch(
        torch.tensor([ids + [PAD] * (width - len(ids)) for ids, _ in chosen]),
        torch.tensor([targets + [IGNORED] * (width - len(targets)) for _, targets in chosen]),
    )


def verdict_batch(rng: random.Random, tokens: int, attempts: Sequence[Attempt]) -> MicroBatch:
    """Attempts of similar length with their questions, as trees."""
    one = verdicts.judged_maker(rng, attempts)
    first = one()
    rows = max(1, round(tokens / len(first.ids)))
    pool = [first, *(one() for _ in range(_OVERSAMPLING * rows - 1))]
    pool.sort(key=lambda judged: len(judged.ids))
    start = rng.randrange(len(pool) - rows + 1)
    return tree_batch(pool[start : start + rows])


def tree_batch(chosen: Sequence[verdicts.Judged]) -> MicroBatch:
    """Judged attempts as one batch. A question has the position behind what it sees."""
    width = max(len(judged.ids) for judged in chosen)
    ids = torch.full((len(chosen), width), PAD)
    targets = torch.full((len(chosen), width), IGNORED)
    positions = torch.arange(width).repeat(len(chosen), 1)
    mask = torch.ones(width, width, dtype=torch.bool).tril().repeat(len(chosen), 1, 1, 1)
    for row, judged in enumerate(chosen):
        text = len(judged.ids) - len(judged.places)
        asked = range(text, len(judged.ids))
        ids[row, : len(judged.ids)] = torch.tensor(judged.ids)
        targets[row, text : len(judged.ids)] = torch.tensor(judged.verdicts)
        positions[row, text : len(judged.ids)] = torch.tensor(judged.places)
        for question, place in zip(asked, judged.places, strict=True):
            mask[row, 0, question, place:question] = False
    return MicroBatch(ids, targets, positions, mask)


def step_plan(attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """The tasks of a step's micro-batches; without attempts there are no verdicts to learn."""
    return tuple(task for task in STEP_PLAN if attempts or task != "verdicts")


def make_step(
    seed: int, step: int, tokens: int, warm_up_steps: int, attempts: Sequence[Attempt] = ()
) -> list[MicroBatch]:
    """The micro-batches of one step, one per entry of `step_plan`, each of about `tokens` ids.

    The same arguments always give the same batches, so a resumed run goes on with the data it would have seen.
    """
    rng = random.Random(f"{seed}/{step}")
    size = warm_up(step, warm_up_steps)
    return [make_micro_batch(task, rng, tokens, size, attempts) for task in step_plan(attempts)]
