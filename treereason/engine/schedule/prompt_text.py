"""The text in front of a branch, as the model sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from treereason.engine.model.path_text import PathText


@dataclass(frozen=True)
class PromptText:
    """What the text of a prompt's children begins behind.

    seen: the prompt's text as the model sees it; None where nobody has asked the tokenizer. path_text: of the path that
    ends with the prompt, read up to there. written: what the model wrote directly in front of the children, without a
    prompt or a stop string between: a stop string may have begun in it.
    """

    seen: str | None = None
    path_text: PathText = field(default_factory=PathText)
    written: str = ""
