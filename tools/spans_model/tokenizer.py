"""The tokenizer of the model with spans: a label is one token, so is a digit, and the round trip is exact."""

import re
import string

from transformers import PreTrainedTokenizerFast

from tools.embedded_model.tokenizer import SPECIAL, word_level
from treereason.tasks.generators import contracts, named_lines

PATTERN = r"[a-z][0-4]| ?[A-Za-z]+|\d|\n|[^\sA-Za-z\d]| "
_PIECE = re.compile(PATTERN)


def vocabulary() -> list[str]:
    """All tokens in the order of their ids: specials, digits, symbols, labels, and the words of contracts."""
    words = re.findall(r"[A-Za-z]+", " ".join((*contracts.TEMPLATES, *contracts.NAMES)))
    spaced = dict.fromkeys(f" {word}" for word in words if word not in {"a", "b", "n"})
    return [*SPECIAL, *string.digits, "\n", *"+-*=?", *named_lines.LABELS, "doc", "merge", " ", *spaced]


_IDS = {token: i for i, token in enumerate(vocabulary())}
PAD, BOS, EOS, UNK = (_IDS[token] for token in SPECIAL)


def encode_text(text: str) -> list[int]:
    """Ids of a text without <bos>, equal to the tokenizer's own."""
    return [_IDS.get(piece, UNK) for piece in _PIECE.findall(text)]


def build_tokenizer(longest: int) -> PreTrainedTokenizerFast:
    """A word-level tokenizer that puts <bos> first; `longest` is the model's number of positions, in tokens."""
    return word_level(_IDS, PATTERN, longest)
