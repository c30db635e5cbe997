"""What differs between a run as it began and as it would go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from treereason.text import shown

FREE = ("display ", "engine.profile ", "launcher ", "workers ", "speculative ", "draft.")
"""How lines begin of what may change when a run goes on: it decides nothing."""


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs in two configurations or fingerprints, a line each; what one of them does not know is left out."""
    lines = []
    for name in before:
        if name not in now or before[name] == now[name]:
            continue
        if isinstance(before[name], Mapping) and isinstance(now[name], Mapping):
            lines += differences(before[name], now[name], f"{prefix}{name}.")
        else:
            lines.append(f"{prefix}{name} was {shown(before[name])}, is {shown(now[name])}")
    return lines
