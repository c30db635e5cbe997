"""What is put to the model, and how tokens are drawn."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """What is put to the model to obtain the next thought. Raises ValueError for what no engine could decode.

    text: appended to the parent's tokens when `appended`, otherwise a prompt of its own.
    shared: leading text of a fresh prompt that every problem of the run has in common (few-shot
        examples, instructions); its KV is computed once and kept for the whole run.
    system: system text of a fresh prompt, for chat templates. turns: earlier (user, model) turns of it.
        Without a chat template, both come before `shared` as they are.
    stop: decoding ends as soon as one of these strings appears, special tokens included; it is not part of the
        thought's text, and what follows goes on directly behind it. It may begin in the texts above, up to the last
        prompt or stop string.
    max_tokens: decoding ends after this many tokens.
    token_ids: given instead of text, for prompts that are not language (recorded searches, benchmarks).
    ignore_end: the end-of-text token does not end decoding; only stop strings and max_tokens do.
    """

    text: str
    appended: bool = False
    shared: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int = 256
    token_ids: tuple[int, ...] = ()
    ignore_end: bool = False
    system: str = ""
    turns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        rules = {
            "text": (isinstance(self.text, str), "a text"),
            "shared": (isinstance(self.shared, str), "a text"),
            "stop": (_several(str, self.stop) and "" not in self.stop, "a tuple of texts, none of them empty"),
            "max_tokens": (type(self.max_tokens) is int and self.max_tokens > 0, "a whole number above 0"),
            "token_ids": (_several(int, self.token_ids), "a tuple of whole numbers"),
            "system": (isinstance(self.system, str), "a text"),
            "turns": (_are_turns(self.turns), "a tuple of pairs of texts: what the user said, what the model answered"),
        }
        for name, (right, wanted) in rules.items():
            if not right:
                raise ValueError(f"Prompt.{name}={reprlib.repr(getattr(self, name))}: give {wanted}")

    @property
    def plain(self) -> str:
        """All of the prompt's text in order, as a model without chat template reads it."""
        return "".join([self.system, *(text for turn in self.turns for text in turn), self.shared, self.text])


def _several(kind: type, values: object) -> bool:
    return isinstance(values, (tuple, list)) and all(isinstance(value, kind) for value in values)


def _are_turns(turns: object) -> bool:
    return _several(tuple, turns) and all(len(turn) == 2 and _several(str, turn) for turn in turns)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 takes the most likely one; top_p 1 draws from the whole vocabulary."""

    temperature: float = 0.7
    top_p: float = 1.0
