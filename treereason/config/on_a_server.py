"""What a server makes of the options of this machine's engine: it heeds few of them; others are refused, or told."""

from __future__ import annotations

import json
from typing import Any

from treereason.config.models import RemoteModelConfig
from treereason.config.schema import Config
from treereason.core import UserError

BY_ITSELF = "a server decodes by itself"
HEEDED = frozenset({"engine.parallel_problems", "engine.profile", "engine.spans", "engine.token_statistics"})
"""Of the groups engine and draft: what the controller does, what is told, and what is refused with more words."""


def refuse_unheeded(config: Config) -> None:
    """Raise UserError, which names them, for options that are not at their defaults and that no server heeds."""
    if not isinstance(config.model, RemoteModelConfig):
        return
    given = [f"speculative={config.speculative}"] if config.speculative in ("siblings", "model") else []
    for group, options in (("engine", config.engine), ("draft", config.draft)):
        for name, field in type(options).model_fields.items():
            value = getattr(options, name)
            if f"{group}.{name}" not in HEEDED and value != field.default:
                given.append(f"{group}.{name}={value if isinstance(value, str) else json.dumps(value)}")
    if given:
        them = "it" if len(given) == 1 else "them"
        raise UserError(f"{', '.join(given)}: {BY_ITSELF}; leave {them} out, or take a local model")


def told_unheeded(config: Config, *, with_spans: bool) -> dict[str, Any]:
    """For the summary: what a server does not heed of defaults and of `auto`. with_spans: the task has some."""
    if not isinstance(config.model, RemoteModelConfig):
        return {}
    told: dict[str, Any] = {}
    if with_spans and config.engine.spans == "auto":
        told["spans"] = "none: a server cannot be told what a token sees, so each sees everything"
    if config.speculative == "auto":
        told["speculative"] = {"why": f"none: {BY_ITSELF}"}
    return told
