"""The tokenizer in a GGUF file: byte-level BPE, cut into words as the model's own tokenizer cuts them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from treereason.text import shown

_CASELESS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
WORDS: dict[str, list[Any]] = {
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "llama-bpe": [pre_tokenizers.Split(Regex(_CASELESS + r"\p{N}{1,3}" + _REST), "isolated"), _BYTES],
    "qwen2": [pre_tokenizers.Split(Regex(_CASELESS + r"\p{N}" + _REST), "isolated"), _BYTES],
}
"""How a text is cut into words before its bytes are merged, by `tokenizer.ggml.pre`."""
_CONTROL, _USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type
_ENDS = {"<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"}


def gguf_tokenizer(metadata: Mapping[str, Any]) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """The tokenizer, with the file's chat template, and the tokens that end a text.

    These are what the metadata names (of the text, of a turn) and the control tokens of that meaning: a file names one
    of them only. Raises ValueError for what the metadata lacks or holds wrongly.
    """
    kind, words = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2" or words not in WORDS:
        raise ValueError(
            f"a tokenizer {shown(kind)} with words {shown(words)} is not served; served is 'gpt2' with words "
            f"{', '.join(WORDS)}"
        )
    tokens = _texts(metadata, "tokens")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if len(vocabulary) < len(tokens):
        raise ValueError("tokenizer.ggml.tokens has a text twice")
    control = _of_kind(_CONTROL, tokens, metadata)
    backend = _byte_pairs(words, vocabulary, _texts(metadata, "merges"))
    backend.add_special_tokens(control)
    backend.add_tokens(_of_kind(_USER_DEFINED, tokens, metadata))
    if backend.get_vocab_size() != len(tokens):
        raise ValueError("tokenizer.ggml.token_type is not of these tokens")
    named = {name: _token(metadata, name, tokens) for name in ("bos", "eos", "unknown", "padding", "eot", "eom")}
    if metadata.get("tokenizer.ggml.add_bos_token", words == "llama-bpe"):
        if (number := named["bos"]) is None:
            raise ValueError("tokenizer.ggml.add_bos_token is true, and no tokenizer.ggml.bos_token_id says which")
        backend.post_processor = processors.TemplateProcessing(
            single=[tokens[number], "$A"], special_tokens=[(tokens[number], number)]
        )
    special = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    texts = {ours: None if (number := named[name]) is None else tokens[number] for ours, name in special.items()}
    tokenizer: Any = PreTrainedTokenizerFast
    tokenizer = tokenizer(tokenizer_object=backend, **texts)
    template = metadata.get("tokenizer.chat_template")
    if template is not None and not isinstance(template, str):
        raise ValueError(f"tokenizer.chat_template={shown(template)}: it should be a text")
    tokenizer.chat_template = template
    ends = {number for name in ("eos", "eot", "eom") if (number := named[name]) is not None}
    return tokenizer, sorted(ends | {vocabulary[token.content] for token in control if token.content in _ENDS})


def _byte_pairs(words: str, vocabulary: dict[str, int], merges: list[str]) -> Tokenizer:
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    if any(left + right not in vocabulary for left, right in pairs):
        raise ValueError("tokenizer.ggml.merges holds what is not two tokens that make a third")
    backend = Tokenizer(BPE(vocabulary, pairs, ignore_merges=words == "llama-bpe"))
    if words == "qwen2":
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(WORDS[words])
    backend.decoder = decoders.ByteLevel()
    return backend


def _texts(metadata: Mapping[str, Any], key: str) -> list[str]:
    value = metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"tokenizer.ggml.{key}: it should be a list of texts, not {shown(value)}")
    return value


def _of_kind(kind: int, tokens: list[str], metadata: Mapping[str, Any]) -> list[AddedToken]:
    kinds = metadata.get("tokenizer.ggml.token_type")
    if not isinstance(kinds, list) or len(kinds) != len(tokens):
        raise ValueError("tokenizer.ggml.token_type: it should be a list of a number for each token")
    chosen = [token for token, its_kind in zip(tokens, kinds, strict=True) if its_kind == kind]
    return [AddedToken(token, special=kind == _CONTROL, normalized=False) for token in chosen]


def _token(metadata: Mapping[str, Any], name: str, tokens: list[str]) -> int | None:
    value = metadata.get(f"tokenizer.ggml.{name}_token_id")
    if value is not None and (type(value) is not int or not 0 <= value < len(tokens)):
        raise ValueError(f"tokenizer.ggml.{name}_token_id={shown(value)}: it has {len(tokens):,} tokens")
    return value
