"""The texts along a path are the one decoding of its tokens, wherever the path is cut, for every tokenizer family."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.driving import answer, make_engine
from tests.engine.tokenizer_families import FAMILIES, ScriptedModel, scripted_model, tokenizer_of
from treereason.core import Decoded, Expansion, Finish, Prompt, Resumption, Sampling, ThoughtPath, Writing
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.path_text import PathText

GREEDY = Sampling(temperature=0.0)
PIECES = [
    "two", " plus", " cats", "+1", " ", "  ", "\n", "\n\n", "€", "日本", "😀", "é", "DEF", "DE", "don't", ".", ",",
    "210", "<|end|>", "\n\nQuestion:",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
STOPS = [(), ("\n",), ("DE",), ("\n\nQuestion:", "€"), ("<|end|>",), ("s p", "wo"), ("�",)]

MODELS = {family: scripted_model(tokenizer_of(family)) for family in FAMILIES}


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


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_texts_along_a_path_are_the_one_decoding_of_its_tokens(family: str, data: st.DataObject) -> None:
    model = MODELS[family]
    chain = Chain(model)
    left = model.encode_text(data.draw(TEXT)) or [5]
    prompt = data.draw(TEXT)
    while left:
        stop = data.draw(st.sampled_from(STOPS))
        count, more = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 3))
        decoded = chain.expand(left[:count], prompt, stop=stop, ignore_end=True)
        left = [*model.script, *left[count:]]
        chain.check()
        if decoded.finish is Finish.LENGTH and left[:more]:
            decoded = chain.resume(left[:more], stop=stop, ignore_end=True)
            left = [*model.script, *left[more:]]
            chain.check()
        prompt = data.draw(st.sampled_from(["", "", "", "+1", " two", "\n", "cats", "€"]))
        if prompt or decoded.finish is Finish.STOP:  # what is behind does not go on with half a character
            while left and model.token_text(left[0]).startswith("�"):
                del left[0]


def written(family: str, *tokens: str) -> tuple[Chain, list[int]]:
    """A chain, and the ids of tokens by their spelling in the vocabulary."""
    model = MODELS[family]
    found = [model.tokenizer.convert_tokens_to_ids(token) for token in tokens]
    assert model.tokenizer.unk_token_id not in found
    return Chain(model), found


def test_steps_of_one_token_keep_the_spaces_between_words() -> None:
    chain, tokens = written("byte fallback", "▁two", "▁plus", "▁cats")
    for token in tokens:
        chain.expand([token])
    assert [one.text for one in chain.answers] == ["two", " plus", " cats"]
    assert chain.transcript == "two plus cats"


@pytest.mark.parametrize("family", ["byte level", "byte fallback"])
@pytest.mark.parametrize("cut", [1, 2])
def test_a_character_that_is_split_over_a_fork_belongs_to_the_thought_that_completes_it(family: str, cut: int) -> None:
    spelling = ("â", "Ĥ", "¬", "5") if family == "byte level" else ("<0xE2>", "<0x82>", "<0xAC>", "5")
    chain, tokens = written(family, *spelling)
    chain.expand(tokens[:cut], "two")
    chain.expand(tokens[cut:])
    assert [one.text for one in chain.answers] == ["", "€5"]


def test_half_a_character_is_left_out_of_the_context_when_other_text_follows() -> None:
    chain, tokens = written("byte fallback", "<0xC3>", "<0xA9>", "<0xE2>", "<0x82>", "▁two")
    chain.expand(tokens[:4], "two")
    chain.expand(tokens[4:], "+1")
    assert chain.transcript == "twoé+1 two" == chain.model.decode(chain.tokens()[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_behind_a_stop_string_stays_in_the_context(family: str) -> None:
    chain = Chain(MODELS[family])
    texts = [chain.model.token_text(token) for token in range(len(chain.model.tokenizer))]
    token = max((t for t, text in enumerate(texts) if text.strip().isalpha()), key=lambda t: len(texts[t]))
    text = texts[token]
    first = chain.expand([token], "two", stop=(text[-3:-1],))
    assert (first.text, first.stop, first.finish) == (text[:-3], text[-3:-1], Finish.STOP)
    chain.expand([token])
    assert chain.transcript == (first.prompt or "") + text[:-1] + text == chain.model.decode(chain.tokens()[0])


def test_appended_text_has_no_space_of_its_own() -> None:
    for family in ("byte level, space in front", "byte fallback", "metaspace"):
        model = MODELS[family]
        for text in ("+1", "two", " two", "  two", "\n", ".", "a", "cats,"):
            if family != "metaspace" or "\n" not in text:
                assert model.decode(model.encode_text("2") + model.encode_text(text)) == "2" + text, family


@pytest.mark.parametrize("family", ["byte level", "byte level, space in front", "byte fallback", "metaspace"])
@pytest.mark.parametrize("text", ["<|end|>two", "cats<|end|>+1</s>two", "<|end|> two", "<|end|><|end|>"])
def test_text_behind_a_special_token_gets_no_space_of_its_own(family: str, text: str) -> None:
    model = MODELS[family]
    assert model.decode(model.encode_text("2") + model.encode_text(text)) == "2" + text


def test_a_character_that_follows_stray_bytes_is_whole() -> None:
    chain, tokens = written("byte level", "ĳ", "©", "â", "Ĥ", "¬", "5")
    for token in tokens:
        chain.expand([token], stop=("�x",))
    assert chain.transcript.removeprefix(chain.answers[0].prompt or "") == "��€5"


def test_a_stop_string_that_is_a_special_token_ends_a_thought() -> None:
    for family in FAMILIES:
        chain = Chain(MODELS[family])
        tokens = chain.model.encode_text("two<|end|> cats")
        decoded = chain.expand(tokens, "plus", stop=("<|end|>",))
        assert (decoded.text.strip(), decoded.stop, decoded.finish) == ("two", "<|end|>", Finish.STOP)


STOP = "\n\nQuestion:"


@pytest.mark.parametrize("cut", range(1, 5))
@pytest.mark.parametrize("how", ["fork", "fork twice", "given", "resumed"])
def test_a_stop_string_that_begins_in_the_texts_above_is_found(how: str, cut: int) -> None:
    chain = Chain(MODELS["byte level"])
    tokens = [token for part in ("two", "\n\nQu", "est", "ion", ":") for token in chain.model.encode_text(part)]
    rest = tokens[cut:] + chain.model.encode_text(" cats")
    if how == "given":
        chain.write(chain.model.decode(tokens[:cut]), "plus")
    else:
        chain.expand(tokens[:cut], "plus", stop=(STOP,))
    if how == "fork twice":
        chain.expand(rest[:1], stop=("?", STOP))
        rest = rest[1:]
    decoded = chain.resume(rest, stop=(STOP,)) if how == "resumed" else chain.expand(rest, stop=(STOP,))
    assert decoded.finish is Finish.STOP
    assert chain.transcript == "plustwo" + STOP


def test_a_stop_string_does_not_begin_in_a_prompt_or_in_another_stop_string() -> None:
    chain = Chain(MODELS["byte level"])
    encode = chain.model.encode_text
    assert chain.expand(encode("b two"), "a", stop=("ab",)).finish is Finish.LENGTH
    assert chain.expand(encode("."), stop=(".",)).finish is Finish.STOP
    assert chain.expand(encode(".") + encode("5"), stop=("..",)).finish is Finish.LENGTH
    assert chain.expand(encode("b"), "a", stop=("ab",)).finish is Finish.LENGTH


def test_every_source_says_where_a_text_ends() -> None:
    model = scripted_model(tokenizer_of("byte level"))
    network = model._network
    network.generation_config.eos_token_id, network.config.eos_token_id = [7, 8], 9
    found = LanguageModel(network, model.tokenizer, "plain").eos_ids
    assert found == {model.tokenizer.eos_token_id, 7, 8, 9}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_does_not_end_with_an_end_that_the_tokenizer_adds(family: str) -> None:
    plain, adding = (scripted_model(tokenizer_of(family, template)) for template in ("<s> $A", "<s> $A </s>"))
    for prompt in (Prompt("two plus"), Prompt("cats", shared="two "), Prompt("two</s>")):
        assert adding.encode(prompt) == plain.encode(prompt)
    assert adding.encode(Prompt(""))[0] == plain.encode(Prompt(""))[0] == [1]


def test_bytes_that_are_no_character_are_not_held_back_for_long() -> None:
    model = MODELS["byte level"]
    path_text, text = PathText(), ""
    broken = model.tokenizer.convert_tokens_to_ids("â")
    for count in range(1, 40):
        path_text.push([broken])
        text += path_text.read(model.decode)
        assert count - len(text) == len(path_text.new) <= 3


def test_given_text_and_a_dropped_thought_keep_to_the_path() -> None:
    chain, tokens = written("byte fallback", "<0xE2>", "▁two", "▁cats")
    chain.expand(tokens[:1], "plus")
    chain.write(" two", "")
    chain.engine.drop("a", chain.path)
    chain.expand(tokens[1:], stop=("o c",))
    assert chain.transcript == "plus two two c" == chain.model.decode(chain.tokens()[0])
