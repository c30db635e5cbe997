"""Sizes in a config.json: each has bounds, so that a wrong figure is refused before anything is built or allocated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from treereason.text import shown

_LAYERS = 10_000  # published models have under 200
_WIDTH = 2**20  # published: 18,432 wide, 53,248 inside
_VOCABULARY = 2**24  # published: 262,144 tokens
_POSITIONS = 2**28  # published: 10,485,760 tokens
_HEADS = 2**16  # published: 128 heads
_EXPERTS = 2**16  # published: 512

LARGEST_SIZE = {
    "num_hidden_layers": _LAYERS,
    "hidden_size": _WIDTH,
    "intermediate_size": _WIDTH,
    "vocab_size": _VOCABULARY,
    "max_position_embeddings": _POSITIONS,
    "num_attention_heads": _HEADS,
    "num_key_value_heads": _HEADS,
    "head_dim": _HEADS,
    # GPT-2's names
    "n_layer": _LAYERS,
    "n_embd": _WIDTH,
    "n_inner": _WIDTH,
    "n_positions": _POSITIONS,
    "n_head": _HEADS,
    # mixtures of experts
    "num_experts": _EXPERTS,
    "num_local_experts": _EXPERTS,
    "n_routed_experts": _EXPERTS,
    "moe_intermediate_size": _WIDTH,
}
"""Largest value that is served, by field: several times what any published model has."""
_LABELS = 2**20
COUNTS = {
    "num_labels": _LABELS,
    **dict.fromkeys(("num_layers", "n_layers", "encoder_layers", "decoder_layers", "num_decoder_layers"), _LAYERS),
}
"""Largest value of the fields of which transformers makes lists as it reads a configuration, whatever is in it."""
MAY_BE_ZERO = {"num_experts", "num_local_experts", "n_routed_experts", "moe_intermediate_size"}


def size_refusal(config: Mapping[str, Any]) -> str | None:
    """Why a model with these sizes cannot be built; None when nothing speaks against them."""
    for field, largest in LARGEST_SIZE.items():
        for value in _numbers(config.get(field)):
            if isinstance(value, bool) or not value >= (0 if field in MAY_BE_ZERO else 1):
                return f"its config.json says {field}={value}: put in the number that it was trained with"
            if value > largest:
                return f"its config.json says {field}={shown(value)}, and at most {largest:,} is served"
    window = config.get("sliding_window")
    if config.get("use_sliding_window", True) and isinstance(window, int | float) and not window >= 1:
        return f"its config.json says sliding_window={window}: put in the tokens that a layer sees, or null for all"
    return None


def count_refusal(config: Mapping[str, Any]) -> str | None:
    """Why a config, or one inside it, cannot be read in bounded memory; None when nothing speaks against it."""
    for part in (config, *(inner for inner in config.values() if isinstance(inner, dict))):
        for field, largest in COUNTS.items():
            if any(value > largest for value in _numbers(part.get(field))):
                return f"its config.json says {field}={shown(part[field])}, and at most {largest:,} is served"
        kinds = part.get("attention_types")  # of GPT-Neo: [[["global", "local"], 12]]
        for kind in kinds if isinstance(kinds, list) else ():
            if any(value > _LAYERS for value in _numbers(kind)):
                return f"its config.json says attention_types={shown(kinds)}: that is more than {_LAYERS:,} layers"
    return None


def layers(config: Mapping[str, Any]) -> int:
    """How many layers a config asks for, 0 where it does not say."""
    return max(
        (value for field in ("num_hidden_layers", "n_layer") for value in _numbers(config.get(field))), default=0
    )


def _numbers(value: Any) -> Iterator[Any]:
    """The numbers of a field, which may hold one for each layer; other types are left to transformers."""
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, int | float):
            yield number
