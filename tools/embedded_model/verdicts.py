"""Texts that teach a verdict: an attempt up to some piece, `?`, then `+` where all of it is right and `-` where not."""

import random
from collections.abc import Callable, Sequence

from tools.embedded_model.attempts import Attempt
from treereason.tasks.generators import arithmetic

ASK, RIGHT, WRONG = "?", "+", "-"
_BLOCKS = (1, 2, 4, 8)
_JUDGED = 0.7


def verdict_maker(rng: random.Random, attempts: Sequence[Attempt]) -> Callable[[], list[tuple[str, bool]]]:
    """Makes texts of a few judged attempts, with solved questions between them; the last block is judged.

    Both verdicts are equally frequent.
    """
    lists = rng.random() < 0.2
    pool = [attempt for attempt in attempts if attempt.prompt.startswith("sort") is lists]
    blocks = 1 if lists else rng.choice(_BLOCKS)

    def one() -> list[tuple[str, bool]]:
        segments: list[tuple[str, bool]] = []
        for i in range(blocks):
            start = "\n" if i else ""
            if i + 1 < blocks and rng.random() >= _JUDGED:
                ((asked, solution),) = arithmetic.solved_examples(rng, 1, rng.randint(2, 6), steps=True)
                segments += [(start + arithmetic.render_question(asked), False), (solution, True)]
                continue
            verdict = rng.random() < 0.5
            attempt = rng.choice(pool)
            while (text := attempt.up_to(verdict, rng)) is None:
                attempt = rng.choice(pool)
            segments += [(start + attempt.prompt + text + ASK, False), (RIGHT if verdict else WRONG, True)]
        return segments

    return one
