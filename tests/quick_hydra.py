"""Hydra without the configuration that it composes for a single word of it, and composes again for the run."""

from __future__ import annotations

from typing import Any


def quicken() -> None:
    """For the whole process: a configuration is composed for `hydra.mode` alone only where something may set it."""
    from hydra._internal.hydra import Hydra

    get_mode = Hydra.get_mode

    def asked(self: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        may_set = any(text.lstrip("+").startswith(("hydra.mode", "hydra.searchpath")) for text in overrides)
        return get_mode(self, config_name, overrides) if may_set else None

    Hydra.get_mode = asked  # type: ignore[method-assign]
