"""One branch by itself: what ends it."""

from __future__ import annotations

from typing import cast

import pytest

from treereason.core import Finish, Prompt
from treereason.engine.kv.forest import Node
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.schedule.branch import Branch


class Words:
    """A tokenizer whose tokens are several letters long."""

    eos_ids = frozenset([0])
    words = ("", "one ", "two\n\n", "three")

    def decode(self, tokens: list[int]) -> str:
        return "".join(self.words[token] for token in tokens)

    def token_text(self, token: int) -> str:
        return self.words[token]


@pytest.mark.parametrize(
    ("tokens", "stop", "want"),
    [
        ([1, 2, 3], ("\n", "\n\n"), ("one two", "\n\n")),  # of two that begin together, the longer
        ([1, 2, 3], ("\n\n", "two"), ("one ", "two")),
        ([1, 3, 2], ("e\n", "hree"), ("one t", "hree")),
        ([3, 3, 2], ("ethr",), ("thre", "ethr")),
    ],
)
def test_the_first_stop_string_ends_a_thought_and_is_told(
    tokens: list[int], stop: tuple[str, ...], want: tuple[str, str]
) -> None:
    model = cast(LanguageModel, Words())
    branch = Branch("a", (0,), Node("a", None, 0), Prompt("", stop=stop), max_tokens=9)
    for token in tokens:
        if not branch.done:
            branch.accept(token, -1.0, model)
    decoded = branch.decoded(model)
    assert (decoded.text, decoded.stop, decoded.finish) == (*want, Finish.STOP)
