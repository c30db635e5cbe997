"""A branch: one child being decoded, from its first token until a stop string, the end, or a limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from treereason.core import Cost, Prompt, Sampling
from treereason.engine.kv.forest import Node
from treereason.engine.model.language_model import LanguageModel


@dataclass(eq=False)
class Branch:
    """`tokens` are the thought's own. Once `done`, `tail` holds those whose KV is not in the forest (one or none).

    text: what stands before a stop string; where none ended the thought, `read` decodes its first num_text tokens.
    """

    problem: str
    path: tuple[int, ...]
    node: Node
    prompt: Prompt
    sampling: Sampling
    key: int
    max_tokens: int
    cost: Cost
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    text: str | None = None
    num_text: int = 0
    done: bool = False
    started: float = field(default_factory=perf_counter)
    tail: list[int] = field(default_factory=list)
    error: str | None = None

    def accept(self, token: int, logprob: float, model: LanguageModel) -> None:
        """Take a sampled token: go on with it, or be done."""
        self.tokens.append(token)
        self.logprob += logprob
        self.cost.tokens_decoded += 1
        if token in model.eos_ids and not self.prompt.ignore_end:
            self._finish(None, len(self.tokens) - 1, [])
        elif (text := self._stopped(token, model)) is not None:
            self._finish(text, 0, [token])
        elif len(self.tokens) == self.max_tokens:
            self._finish(None, len(self.tokens), [token])
        else:
            self.node.tokens.append(token)

    def fail(self, error: str) -> None:
        self.error = error
        self._finish(None, len(self.tokens), [])

    def read(self, model: LanguageModel) -> str:
        """The text of a thought that is done."""
        return model.decode(self.tokens[: self.num_text]) if self.text is None else self.text

    def _finish(self, text: str | None, num_text: int, tail: list[int]) -> None:
        self.text, self.num_text, self.tail, self.done = text, num_text, tail, True
        self.cost.seconds = perf_counter() - self.started
        del self.node.tokens[self.node.num_cached :]
        self.node.growing = False

    def _stopped(self, token: int, model: LanguageModel) -> str | None:
        """The text before the first stop string, or None when there is none."""
        if not self.prompt.stop:
            return None
        last = model.token_text(token)
        # A stop string can only be complete once its last character has come; "�" is a part of a character.
        if not any(stop[-1] in last or stop[-1].isspace() or "�" in last for stop in self.prompt.stop):
            return None
        text = model.decode(self.tokens)
        ends = [end for stop in self.prompt.stop if (end := text.find(stop)) >= 0]
        return text[: min(ends)] if ends else None
