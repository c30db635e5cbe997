"""What a server was seen to do with short requests, so that a run neither assumes it nor is silent about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Form = Literal["continue_final_message", "prefix", "as it is"]
"""How a chat endpoint is asked to continue the model's own message: by vLLM's fields, by a field of the message
(Mistral, DeepSeek), or by nothing but its place at the end (llama.cpp, Anthropic)."""


@dataclass(frozen=True)
class Capabilities:
    """By default nothing is known, and requests are sent as OpenAI has them.

    continuation: None where it is not known. refusal: why a text cannot be continued, "" where it can.
    repeats_text: an answer to that begins with the text once more. keeps_stops: a stop string stays in the text.
    defaults: fields that switch off a sampling of the server's own, sent with every request that does not have them.
    nested: sampling is read from a field `generation_config` alone (transformers' server).
    told: what was seen, in words, by its name.
    """

    continuation: Form | None = None
    refusal: str = ""
    repeats_text: bool = False
    keeps_stops: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    nested: bool = False
    told: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """All that is told, in one line."""
        return "; ".join(f"{name}: {words}" for name, words in self.told.items())
