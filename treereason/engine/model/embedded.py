"""The shipped models on a CPU, loaded without transformers, whose import takes longer than all else before a token."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from treereason.core import UserError
from treereason.engine.model.compiled import Compiled
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.llama import Llama, LlamaSizes
from treereason.engine.model.make_quick import make_quick
from treereason.engine.model.shipped import SHIPPED


class EmbeddedTokenizer:
    """What is used of a tokenizer of transformers."""

    clean_up_tokenization_spaces = False

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def decode(self, tokens: list[int], skip_special_tokens: bool = False) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=skip_special_tokens)
        return text

    def get_added_vocab(self) -> dict[str, int]:
        return {token.content: number for number, token in self._tokenizer.get_added_tokens_decoder().items()}


def load_embedded(
    name: str = "embedded", *, style: str, dtype: str, fused: bool = True, cpu: Compiled = "auto"
) -> LanguageModel:
    """A shipped model on a CPU: the same tokens and bits as transformers computes.

    dtype: "float32", "bfloat16", "float16", or "auto" for float32, as it is stored. fused, cpu: as in `load_model`.
    Raises UserError for style "chat", and for cpu "compiled" where nothing can be compiled.
    """
    if style == "chat":
        raise UserError(f"model.name={name}: its tokenizer has no chat template; use model.style=plain")
    folder = SHIPPED[name].folder
    sizes = LlamaSizes.of(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    with torch.random.fork_rng(devices=[]):  # not on "meta", whose random values import torch._dynamo: a second
        network = Llama(sizes)
    weights = load_file(folder / "model.safetensors")
    network.load_state_dict(weights | {"lm_head.weight": weights["model.embed_tokens.weight"]}, assign=True)
    network.to(torch.float32 if dtype == "auto" else getattr(torch, dtype))
    model = LanguageModel(network, EmbeddedTokenizer(folder / "tokenizer.json"), style, name)
    make_quick(model, network, fused=fused, cpu=cpu)
    return model
