"""The tokenizer of the shipped model: one token per digit, one per word with its leading space, exact round trip."""

import re
import string

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from treereason.tasks.generators import contracts

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
PATTERN = r" ?[A-Za-z]+|\d|\n|[^\sA-Za-z\d]| "
_PIECE = re.compile(PATTERN)
_COMMANDS = ("sort", "merge", "fix", "doc", "Q", "A")
_SYMBOLS = "+-*=:;"
_LATER = ("meet", "make", ",", "/", "?")  # at the end, so that the ids of the others stay


def vocabulary() -> list[str]:
    """All tokens in the order of their ids: specials, digits, symbols, commands, words of contracts with a space."""
    words = re.findall(r"[A-Za-z]+", " ".join((*contracts.TEMPLATES, *contracts.NAMES)))
    placeholders = {"a", "b", "n"}
    spaced = dict.fromkeys(f" {word}" for word in words if word not in placeholders)
    return [*SPECIAL, *string.digits, "\n", " ", *_SYMBOLS, *_COMMANDS, *spaced, *_LATER]


_IDS = {token: i for i, token in enumerate(vocabulary())}
PAD, BOS, EOS, UNK = (_IDS[token] for token in SPECIAL)


def encode_text(text: str) -> list[int]:
    """Ids of a text without <bos>, equal to the tokenizer's own, at a tenth of the cost of a call on a short text."""
    return [_IDS.get(piece, UNK) for piece in _PIECE.findall(text)]


def build_tokenizer(longest: int) -> PreTrainedTokenizerFast:
    """A word-level tokenizer that puts <bos> first; `longest` is the model's number of positions, in tokens.

    Text outside the vocabulary becomes <unk>: decoding the ids of any other text gives that text back.
    """
    return word_level(_IDS, PATTERN, longest)


def word_level(ids: dict[str, int], pattern: str, longest: int) -> PreTrainedTokenizerFast:
    """The tokenizer of a vocabulary that holds <pad>, <bos>, <eos> and <unk>; `pattern` cuts a text into its words."""
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    core.decoder = decoders.Fuse()
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", ids["<bos>"])]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        pad_token="<pad>",
        padding_side="left",
        model_max_length=longest,
        clean_up_tokenization_spaces=False,
    )
