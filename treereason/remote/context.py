"""All that stands in front of a thought, as a server is told it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from treereason.core import Prompt


@dataclass(frozen=True)
class Context:
    """text: on the completions endpoint all of it; on the chat endpoint what the model has said after `messages`.

    messages: (role, content), none on the completions endpoint.
    """

    text: str
    messages: tuple[tuple[str, str], ...] = ()

    def __add__(self, text: str) -> Context:
        """The context with more text behind it."""
        return replace(self, text=self.text + text)

    def asked(self, question: str) -> Context:
        """What the model has said ends, and the user asks a question; on the chat endpoint only."""
        return Context("", (*self.messages, ("assistant", self.text), ("user", question.strip())))

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a request that say it. A message of the model's is continued as vLLM and SGLang have it."""
        if not self.messages:
            return {"prompt": self.text}
        messages = [{"role": role, "content": content} for role, content in self.messages]
        if not self.text:
            return {"messages": messages}
        return {
            "messages": [*messages, {"role": "assistant", "content": self.text}],
            "add_generation_prompt": False,
            "continue_final_message": True,
        }


def context_of(prompt: Prompt, *, chat: bool) -> Context:
    """What a prompt of its own puts in front of a thought."""
    return Context("", tuple(_messages(prompt))) if chat else Context(prompt.plain)


def _messages(prompt: Prompt) -> Iterator[tuple[str, str]]:
    if prompt.system:
        yield "system", prompt.system
    for user, model in prompt.turns:
        yield "user", user
        yield "assistant", model
    yield "user", prompt.shared + prompt.text
