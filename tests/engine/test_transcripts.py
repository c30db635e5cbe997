"""The texts along a path are the one decoding of its tokens, wherever the path is cut, for every tokenizer family."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.driving import answer, make_engine
from tests.engine.tokenizer_families import FAMILIES, ScriptedModel, scripted_model, tokenizer_of
from treereason.core import Decoded, Expansion, Finish, Prompt, Resumption, Sampling, ThoughtPath, Writing
from treereason.engine.model.path_text import PathText

GREEDY = Sampling(temperature=0.0)
PIECES = [
    "two", " plus", " cats", "+1", " ", "  ", "\n", "\n\n", "€", "日本", "😀", "é", "DEF", "DE", "don't", ".", ",", "210",
    "<|end|>", "\n\nQuestion:",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
STOPS = [(), ("\n",), ("DE",), ("\n\nQuestion:", "€"), ("<|end|>",), ("s p", "wo"), ("�",)]


@dataclass
class Chain:
    """One path of an engine whose model writes what it is told."""

    model: ScriptedModel
    path: ThoughtPath = ()
    answers: list[Decoded] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = make_engine(self.model, kv_tokens=8192, prefill_tokens=2048)

    def expand(self, tokens: list[int], text: str = "", **options: object) -> Decoded:
        """Write these tokens behind a prompt: fresh at the root, then appended."""
        self.model.script = list(tokens)
        options = {"max_tokens": max(1, len(tokens)), **options}
        prompt = Prompt(text, appended=bool(self.path), **options)  # type: ignore[arg-type]
        parent, self.path = self.path, (*self.path, 0)
        return self._take(answer(self.engine, Expansion("a", parent, prompt, (self.path,), GREEDY)))

    def write(self, given_text: str, text: str = "") -> Decoded:
        prompt = Prompt(text, appended=bool(self.path))
        parent, self.path = self.path, (*self.path, 0)
        return self._take(answer(self.engine, Writing("a", parent, prompt, (self.path,), (given_text,))))

    def resume(self, tokens: list[int], **options: object) -> Decoded:
        self.model.script = list(tokens)
        prompt = Prompt("", max_tokens=max(1, len(tokens)), **options)  # type: ignore[arg-type]
        self.answers.pop()
        return self._take(answer(self.engine, Resumption("a", self.path, prompt, GREEDY)))

    def _take(self, found: dict[tuple[str, ThoughtPath], Decoded]) -> Decoded:
        decoded = found["a", self.path]
        assert decoded.error is None, decoded.error
        self.answers.append(decoded)
        return decoded

    @property
    def transcript(self) -> str:
        """As of Thought.transcript."""
        return "".join((one.prompt or "") + one.text + one.stop for one in self.answers)

    def tokens(self, path: ThoughtPath | None = None, *, cut: bool = True) -> tuple[list[int], PathText]:
        """Of a path, as a continuation finds it, and its text."""
        thought = self.engine._thoughts.get("a", self.path if path is None else path)
        node, tokens, path_text = thought.end(self.model, cut=cut)
        return (node.token_ids() if node else []) + tokens, path_text

    def check(self) -> None:
        """The transcript is the one decoding of the path, but for a character that is not complete yet."""
        tokens, path_text = self.tokens(cut=self.answers[-1].finish is Finish.STOP)
        whole = tokens[: len(tokens) - len(path_text.new)]
        assert self.transcript == self.model.decode(whole) + path_text.ahead
        assert self.transcript == self.model.decode(self.tokens()[0])


def ids(model: ScriptedModel, text: str) -> list[int]:
    return model.encode_text(text)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_texts_along_a_path_are_the_one_decoding_of_its_tokens(family: str, data: st.DataObject) -> None:
    model = MODELS[family]
    chain = Chain(model)
    tokens = ids(model, data.draw(TEXT)) or [5]
    cuts = sorted(data.draw(st.lists(st.integers(1, len(tokens)), max_size=5)))
    prompt = data.draw(TEXT)
    for start, end in pairwise([0, *cuts, len(tokens)]):
        if start == end:
            continue
        stop = data.draw(st.sampled_from(STOPS))
        decoded = chain.expand(tokens[start:end], prompt, stop=stop, ignore_end=True)
        chain.check()
        if decoded.finish is Finish.LENGTH and data.draw(st.booleans()):
            chain.resume([], stop=stop, ignore_end=True)
            chain.check()
        prompt = data.draw(st.sampled_from(["", "", "", "+1", " two", "\n", "cats", "€"]))


MODELS = {family: scripted_model(tokenizer_of(family)) for family in FAMILIES}
