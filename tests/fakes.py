"""What tests of several rooms share: tiny random models behind the real engine, a tokenizer of letters, paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    GptOssConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
"""Files that others published; they lie beside the checkout on the developers' machines."""

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
