"""Tiny random models behind the real engine, and data that other people published, where it is at hand."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read when Triton is first imported: its kernels then run on a CPU. Without this file (`make gpu`) they are compiled.
os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GptOssConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from treereason.engine.model import Model

torch.set_num_threads(int(os.environ.get("TREEREASON_TEST_THREADS", "1")))

VOCABULARY = 64
COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.15,  # large, so that attention is far from uniform and a missing feature shows
}
CONFIGS: dict[str, Any] = {
    "llama": lambda: LlamaConfig(**COMMON),
    "qwen3": lambda: Qwen3Config(**COMMON),
    "mistral": lambda: MistralConfig(**COMMON, sliding_window=6),
    "gemma2": lambda: Gemma2Config(**COMMON, sliding_window=6, attn_logit_softcapping=1.0, query_pre_attn_scalar=16),
    "qwen2": lambda: Qwen2Config(**COMMON),
    "gemma3": lambda: Gemma3TextConfig(**COMMON, sliding_window=6, query_pre_attn_scalar=16, pad_token_id=0),
    "phi3": lambda: Phi3Config(**{k: v for k, v in COMMON.items() if k != "head_dim"}, pad_token_id=0),
    "olmo2": lambda: Olmo2Config(**COMMON, pad_token_id=0),
    "granite": lambda: GraniteConfig(**COMMON, attention_multiplier=0.2),
    "mixtral": lambda: MixtralConfig(**COMMON, num_local_experts=2, num_experts_per_tok=1),
    "gpt_oss": lambda: GptOssConfig(**COMMON, sliding_window=6, num_local_experts=2, num_experts_per_tok=1),
}


class LetterTokenizer:
    """One token a character: chr(32) is 0, and the last id is the end."""

    eos_token_id = VOCABULARY - 1

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:  # noqa: ARG002
        return {"input_ids": [(ord(letter) - 32) % (VOCABULARY - 1) for letter in text]}

    def decode(self, tokens: list[int], skip_special_tokens: bool = True) -> str:  # noqa: ARG002
        return "".join(chr(token + 32) for token in tokens)


@pytest.fixture
def tiny_model() -> Callable[[str], tuple[Model, PreTrainedModel]]:
    """Builds a random model of a kind: the engine's view of it, and an untouched `eager` twin."""

    def build(kind: str) -> tuple[Model, PreTrainedModel]:
        torch.manual_seed(0)
        auto: Any = AutoModelForCausalLM
        network = auto.from_config(CONFIGS[kind](), attn_implementation="eager", dtype=torch.float32)
        if kind == "gpt_oss":
            for layer in network.model.layers:
                torch.nn.init.normal_(layer.self_attn.sinks, std=2.0)
        twin = copy.deepcopy(network)
        twin.train(False)
        twin.set_attn_implementation("eager")
        return Model(network, LetterTokenizer(), "plain"), twin

    return build


@pytest.fixture(scope="session")
def published() -> Path:
    """Folder of files that others published; it lies beside the checkout on the developers' machines."""
    folder = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("published data is not at hand")
    return folder
