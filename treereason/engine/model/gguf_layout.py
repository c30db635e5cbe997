"""The model in a GGUF file: its config and the names of its tensors in transformers, or why it is not served.

All that a file says about its architecture is used or refused, because what is left out makes wrong logits in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from treereason.core import UserError
from treereason.engine.model.gguf_file import GgufFile
from treereason.engine.model.sizes import LARGEST_SIZE
from treereason.text import printable, shown

ARCHITECTURES = ("llama", "qwen2", "qwen3")
_FIELDS = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "context_length": "max_position_embeddings",
}
"""Whole numbers that a file must have, with their names in transformers."""
_CHECKED = ("attention.key_length", "attention.value_length", "rope.dimension_count")  # all the width of a head
_READ = {*_FIELDS, *_CHECKED, "attention.layer_norm_rms_epsilon", "rope.freq_base", "vocab_size"}
_WITHOUT_EFFECT = {"rope.scaling.type": "none", "expert_count": 0, "expert_used_count": 0}
ROPE_FACTORS = "rope_freqs.weight"
"""Divides the frequencies of RoPE, one value a frequency: how a file holds the scaling of Llama 3."""


@dataclass(frozen=True)
class Layout:
    """config: values of a transformers config. names: in transformers, by the name in the file.

    num_heads: of the tensors whose rows ggml orders in its own way, by their name in the file.
    """

    model_type: str
    config: dict[str, Any]
    names: dict[str, str]
    num_heads: dict[str, int]


def check_gguf(name: str, file: GgufFile) -> Layout:
    """The layout of a model that is served, every tensor of it there and of the right shape. Raises UserError."""
    if reason := _other_kind(file):
        raise UserError(f"model.name={name}: {reason}")
    if find_spec("gguf") is None:
        raise UserError(f"model.name={name}: a GGUF file needs another package: pip install 'treereason[gguf]'")
    try:
        layout, shapes = _layout(file)
    except ValueError as error:
        raise UserError(f"model.name={name}: its metadata: {printable(str(error), 500)}") from None
    if missing := sorted(shapes.keys() - file.tensors.keys()):
        raise UserError(
            f"model.name={name}: the file lacks {len(missing)} of its tensors, first {missing[0]}: download it again"
        )
    if other := sorted(file.tensors.keys() - shapes.keys()):
        raise UserError(
            f"model.name={name}: it has tensors that a {layout.model_type} does not have here, "
            f"first of {len(other)}: {printable(other[0], 100)}"
        )
    for tensor, shape in shapes.items():
        if (found := file.tensors[tensor].shape) != shape:
            raise UserError(f"model.name={name}: {tensor} is {found}, and its metadata asks for {shape}")
    return layout


def _other_kind(file: GgufFile) -> str | None:
    """Why a file is not a whole language model of a kind that is served."""
    architecture = file.metadata.get("general.architecture")
    if file.metadata.get("general.type", "model") != "model":
        return f"general.type={shown(file.metadata['general.type'])}: it is not a language model of its own"
    if file.metadata.get("split.count", 1) != 1:
        return f"it is one part of {shown(file.metadata['split.count'])}: join them first (llama-gguf-split --merge)"
    if architecture not in ARCHITECTURES:
        kind = printable(architecture, 60) if isinstance(architecture, str) else "a model without an architecture"
        return f"{kind} in a GGUF file is not served; served are {', '.join(ARCHITECTURES)}"
    return None


def _layout(file: GgufFile) -> tuple[Layout, dict[str, tuple[int, ...]]]:
    """The layout, and the shape of every tensor in torch's order. Raises ValueError."""
    kind = file.metadata["general.architecture"]
    prefix = f"{kind}."
    given = {key.removeprefix(prefix): value for key, value in file.metadata.items() if key.startswith(prefix)}
    for key, value in given.items():
        if key not in _READ and not (key in _WITHOUT_EFFECT and value == _WITHOUT_EFFECT[key]):
            raise ValueError(f"{prefix}{key}={shown(value)} is not known here, and would be left out")
    given.setdefault("attention.head_count_kv", given.get("attention.head_count"))
    config: dict[str, Any] = {name: _natural(given, key, LARGEST_SIZE[name]) for key, name in _FIELDS.items()}
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens or not isinstance(tokens[0], str):
        raise ValueError("it has no tokenizer.ggml.tokens")
    config["vocab_size"] = len(tokens)
    if given.get("vocab_size", len(tokens)) != len(tokens):
        raise ValueError(f"{prefix}vocab_size={shown(given['vocab_size'])}, and it has {len(tokens):,} tokens")
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    if heads % kv_heads:
        raise ValueError(f"{heads} heads cannot share {kv_heads} heads of keys and values")
    head_dim = config["head_dim"] = _head_dim(given, config["hidden_size"], heads)
    config["rms_norm_eps"] = _number(given, "attention.layer_norm_rms_epsilon", 0, 1, None)
    theta = _number(given, "rope.freq_base", 1, 1e15, 10_000.0)
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    has = file.tensors.keys()
    config["tie_word_embeddings"] = "output.weight" not in has
    bias = "blk.0.attn_q.bias" in has  # of a Qwen 2 always
    if kind != "qwen2":
        config["attention_bias"] = bias
    if config["num_hidden_layers"] > len(has):
        raise ValueError(f"{prefix}block_count={config['num_hidden_layers']:,}, and it has {len(has):,} tensors in all")
    return _tensors(kind, config, has, bias, head_dim)


def _tensors(
    kind: str, config: dict[str, Any], has: Any, bias: bool, head_dim: int
) -> tuple[Layout, dict[str, tuple[int, ...]]]:
    width, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    query, key = heads * head_dim, kv_heads * head_dim
    layer: dict[str, tuple[str, tuple[int, ...]]] = {
        "attn_norm.weight": ("input_layernorm.weight", (width,)),
        "attn_q.weight": ("self_attn.q_proj.weight", (query, width)),
        "attn_k.weight": ("self_attn.k_proj.weight", (key, width)),
        "attn_v.weight": ("self_attn.v_proj.weight", (key, width)),
        "attn_output.weight": ("self_attn.o_proj.weight", (width, query)),
        "ffn_norm.weight": ("post_attention_layernorm.weight", (width,)),
        "ffn_gate.weight": ("mlp.gate_proj.weight", (inner, width)),
        "ffn_up.weight": ("mlp.up_proj.weight", (inner, width)),
        "ffn_down.weight": ("mlp.down_proj.weight", (width, inner)),
    }
    if bias or kind == "qwen2":
        layer |= {
            "attn_q.bias": ("self_attn.q_proj.bias", (query,)),
            "attn_k.bias": ("self_attn.k_proj.bias", (key,)),
            "attn_v.bias": ("self_attn.v_proj.bias", (key,)),
        }
        if kind != "qwen2":
            layer["attn_output.bias"] = ("self_attn.o_proj.bias", (width,))
    if kind == "qwen3":
        layer |= {
            "attn_q_norm.weight": ("self_attn.q_norm.weight", (head_dim,)),
            "attn_k_norm.weight": ("self_attn.k_norm.weight", (head_dim,)),
        }
    found = {
        "token_embd.weight": ("model.embed_tokens.weight", (vocabulary, width)),
        "output_norm.weight": ("model.norm.weight", (width,)),
    }
    if not config["tie_word_embeddings"]:
        found["output.weight"] = ("lm_head.weight", (vocabulary, width))
    for number in range(config["num_hidden_layers"]):
        found |= {
            f"blk.{number}.{gguf}": (f"model.layers.{number}.{name}", shape) for gguf, (name, shape) in layer.items()
        }
    num_heads = {}
    if kind == "llama":
        for gguf in found:
            if ".attn_q." in gguf or ".attn_k." in gguf:
                num_heads[gguf] = heads if ".attn_q." in gguf else kv_heads
    shapes = {gguf: shape for gguf, (_, shape) in found.items()}
    if kind == "llama" and ROPE_FACTORS in has:
        shapes[ROPE_FACTORS] = (head_dim // 2,)
    return Layout(kind, config, {gguf: name for gguf, (name, _) in found.items()}, num_heads), shapes


def _head_dim(given: Mapping[str, Any], width: int, heads: int) -> int:
    sizes = {key: _natural(given, key, LARGEST_SIZE["head_dim"]) for key in _CHECKED if key in given}
    if not sizes and width % heads:
        raise ValueError(f"{heads} heads cannot share a width of {width:,}")
    different = set(sizes.values()) or {width // heads}
    if len(different) > 1:
        raise ValueError(
            f"all of these should be the width of a head: {', '.join(f'{k}={v}' for k, v in sizes.items())}"
        )
    [head_dim] = different
    if head_dim % 2:
        raise ValueError(f"a head of {head_dim} values has no rotations")
    return head_dim


def _natural(given: Mapping[str, Any], key: str, most: int) -> int:
    value = given.get(key)
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{key}={shown(value)}: it should be a whole number from 1 to {most:,}")
    return value


def _number(given: Mapping[str, Any], key: str, least: float, most: float, default: float | None) -> float:
    value = given.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{key}={shown(value)}: it should be a number from {least} to {most:g}")
    return float(value)
