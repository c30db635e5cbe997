"""Texts that teach verdicts: an attempt, and behind each piece `?`, then `+` where all is right and `-` where not.

All questions of one attempt are rows of one text, as a tree: each sees the attempt up to its piece, and no other
question. So a row computes what it computes when a judge asks at that place.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.embedded_model.attempts import Attempt
from tools.embedded_model.tokenizer import BOS, encode_text
from treereason.tasks.generators import arithmetic

ASK, RIGHT, WRONG = "?", "+", "-"
_EXAMPLES = (0, 0, 0, 1, 2)
_LISTS = 0.1


@dataclass(frozen=True)
class Judged:
    """An attempt with its questions, as token ids.

    ids: the text, then one `?` for each place. places: how many tokens of the text each question sees. verdicts: the
    token that answers each.
    """

    ids: list[int]
    places: list[int]
    verdicts: list[int]


def judged(attempt: Attempt, before: str = "") -> Judged:
    """The attempt behind some other text, with a question behind each piece."""
    ids = [BOS, *encode_text(before + attempt.prompt)]
    places = []
    for piece in attempt.pieces:
        ids += encode_text(piece)
        places.append(len(ids))
    [ask], [right], [wrong] = map(encode_text, (ASK, RIGHT, WRONG))
    return Judged(ids + [ask] * len(places), places, [right if held else wrong for held in attempt.right])


def judged_maker(rng: random.Random, attempts: Sequence[Attempt]) -> Callable[[], Judged]:
    """Draws attempts of one kind: lists, or solutions behind a number of solved examples."""
    lists = rng.random() < _LISTS
    num_examples = 0 if lists else rng.choice(_EXAMPLES)
    pool = [attempt for attempt in attempts if attempt.prompt.startswith("sort") is lists]

    def one() -> Judged:
        examples = arithmetic.solved_examples(rng, num_examples, rng.randint(2, 6), steps=True)
        before = "".join(f"{arithmetic.render_question(asked)}{text}\n" for asked, text in examples)
        return judged(rng.choice(pool), before)

    return one
