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
WORDS = {
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "llama-bpe": [
        pre_tokenizers.Split(Regex(_CASELESS + r"\p{N}{1,3}" + _REST), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
    "qwen2": [
        pre_tokenizers.Split(Regex(_CASELESS + r"\p{N}" + _REST), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
}
"""How a text is cut into words before its bytes are merged, by `tokenizer.ggml.pre`."""
_CONTROL, _USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type
_ENDS = {"<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"}


def gguf_tokenizer(metadata: Mapping[str, Any]) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """The tokenizer, with the file's chat template, and the tokens that end a text.

    These are what the metadata names (of the text, of a turn) and control tokens that end a turn in a chat template:
    a file names one of them only. Raises ValueError for what the metadata lacks or holds wrongly.
    """
    kind, words = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2" or words not in WORDS:
        raise ValueError(
            f"a tokenizer {shown(kind)} with words {shown(words)} is not served; served is 'gpt2' with words "
            f"{', '.join(WORDS)}"
        )
    tokens, merges = _texts(metadata, "tokens"), [tuple(merge.split(" ")) for merge in _texts(metadata, "merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if len(vocabulary) < len(tokens):
        raise ValueError("tokenizer.ggml.tokens has a text twice")
    if any(len(merge) != 2 or "".join(merge) not in vocabulary for merge in merges):
        raise ValueError("tokenizer.ggml.merges holds what is not two tokens that make a third")
    tokenizer = Tokenizer(BPE(vocabulary, merges, ignore_merges=words == "llama-bpe"))
    tokenizer.normalizer = normalizers.NFC() if words == "qwen2" else None  # type: ignore[assignment]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(WORDS[words])  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    kinds = metadata.get("tokenizer.ggml.token_type") or []
    tokenizer.add_special_tokens(_of_kind(_CONTROL, tokens, kinds))
    tokenizer.add_tokens(_of_kind(_USER_DEFINED, tokens, kinds))
    if tokenizer.get_vocab_size() != len(tokens):
        raise ValueError("tokenizer.ggml.token_type is not of these tokens")
    named = {name: _token(metadata, name, tokens) for name in ("bos", "eos", "unknown", "padding", "eot", "eom")}
    if metadata.get("tokenizer.ggml.add_bos_token", words == "llama-bpe"):
        if named["bos"] is None:
            raise ValueError("tokenizer.ggml.add_bos_token is true, and no tokenizer.ggml.bos_token_id says which")
        bos = tokens[named["bos"]]
        tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
            single=[bos, "$A"], special_tokens=[(bos, named["bos"])]
        )
    served = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{
            f"{ours}_token": None if named[name] is None else AddedToken(tokens[named[name]], special=True, normalized=False)
            for ours, name in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
        },
    )
    template = metadata.get("tokenizer.chat_template")
    if template is not None and not isinstance(template, str):
        raise ValueError(f"tokenizer.chat_template={shown(template)}: it should be a text")
    served.chat_template = template
    ends = {named[name] for name in ("eos", "eot", "eom")} - {None}
    ends |= {vocabulary[token.content] for token in _of_kind(_CONTROL, tokens, kinds) if token.content in _ENDS}
    return served, sorted(ends)


def _texts(metadata: Mapping[str, Any], key: str) -> list[str]:
    value = metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"tokenizer.ggml.{key}: it should be a list of texts, not {shown(value)}")
    return value


def _of_kind(kind: int, tokens: list[str], kinds: Any) -> list[AddedToken]:
    if not isinstance(kinds, list) or len(kinds) not in (0, len(tokens)):
        raise ValueError("tokenizer.ggml.token_type: it should be a list of a number for each token")
    return [AddedToken(token, special=kind == _CONTROL, normalized=False) for token, k in zip(tokens, kinds) if k == kind]


def _token(metadata: Mapping[str, Any], name: str, tokens: list[str]) -> int | None:
    value = metadata.get(f"tokenizer.ggml.{name}_token_id")
    if value is not None and (type(value) is not int or not 0 <= value < len(tokens)):
        raise ValueError(f"tokenizer.ggml.{name}_token_id={shown(value)}: it has {len(tokens):,} tokens")
    return value
