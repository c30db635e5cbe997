"""RoPE parameters in a config.json: what their numbers may be, and which kinds a token tree cannot serve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from treereason.text import shown

POSITION_DEPENDENT = {"dynamic", "longrope"}


def rope_refusal(config: Mapping[str, Any]) -> str | None:
    """Why the RoPE of a config cannot be computed or served; None when nothing speaks against it."""
    found = _types(config.get("rope_parameters")) | _types(config.get("rope_scaling"))
    if dependent := found & POSITION_DEPENDENT:
        kinds = ", ".join(sorted(dependent))
        return f"its RoPE ({kinds}) depends on the longest position in a step, so on other branches"
    for field in ("rope_theta", "rope_local_base_freq", "rope_parameters", "rope_scaling"):
        if reason := _odd_number(field, config.get(field)):
            return f"its config.json says {reason}"
    return None


def _types(rope: Any) -> set[str]:
    """RoPE types in a config, which may hold one set of parameters or one for each layer type."""
    if not isinstance(rope, dict):
        return set()
    own = rope.get("rope_type", rope.get("type"))
    return ({own} if isinstance(own, str) else set()).union(*(_types(value) for value in rope.values()))


def _odd_number(field: str, value: Any) -> str | None:
    """What is wrong with a number, or with one inside."""
    if isinstance(value, dict):
        return next((reason for key, inner in value.items() if (reason := _odd_number(key[:60], inner))), None)
    if value is None or isinstance(value, bool | list) or "type" in field:
        return None
    if field in ("rope_parameters", "rope_scaling"):
        return f"{field}={shown(value)}: it should be an object"
    if not isinstance(value, int | float):
        return f"{field}={shown(value)}: it should be a number"
    least = {"rope_theta": 1, "factor": 1}.get(field, 0)
    if not least <= value <= 1e15 or math.isnan(value):
        return f"{field}={shown(value)}: it should be from {least} to 1e15"
    return None
