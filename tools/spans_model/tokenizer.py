"""The tokenizer of the model with spans: a label is one token, so is a digit, and the round trip is exact."""

import re
import string

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from treereason.tasks.generators import contracts, named_lines

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
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
    core = Tokenizer(models.WordLevel(_IDS, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    core.decoder = decoders.Fuse()
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", BOS)]
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
