"""Children whose text is given: their log-probability is that of transformers, and they live on as others do."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from tests.engine.driving import ARCHITECTURES, HOT, Build, answer, finish, make_engine, prompt_of
from treereason.core import Expansion, Finish, Prompt, Resumption, ThoughtPath, Writing
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.schedule import scheduler

TEXTS = ("APPLES", "APPLES AND PEARS, AND WHATEVER ELSE GROWS ON TREES", "APPLE", "PEARS", "P", "", "APPLES")


def children(parent: ThoughtPath, count: int, first: int = 0) -> tuple[ThoughtPath, ...]:
    return tuple((*parent, first + i) for i in range(count))


def logprob_by_transformers(model: LanguageModel, twin: PreTrainedModel, before: str, text: str) -> float:
    """Sum over the text's tokens, by transformers' own attention over the whole sequence at once."""
    above, own = model.encode_text(before), model.encode_text(text)
    with torch.inference_mode():
        logits = twin(torch.tensor([above + own])).logits[0].float()
    rows = logits[len(above) - 1 : len(above) + len(own) - 1].log_softmax(dim=1)
    return float(rows.gather(1, torch.tensor(own, dtype=torch.long)[:, None]).sum())


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_given_text_is_as_likely_as_transformers_says(kind: str, tiny_model: Build) -> None:
    model, twin = tiny_model(kind)
    engine = make_engine(model)
    prompt = Prompt("WHICH DO YOU LIKE? ", shared="A QUESTION OF TASTE. ")
    found = answer(engine, Writing("a", (), prompt, children((), len(TEXTS)), TEXTS))
    for i, text in enumerate(TEXTS):
        child = found["a", (i,)]
        assert (child.text, child.stop, child.finish, child.error) == (text, "", Finish.GIVEN, None)
        assert (child.cost.tokens_decoded, child.num_tokens) == (0, len(model.encode_text(text)))
        assert child.logprob == pytest.approx(logprob_by_transformers(model, twin, prompt.plain, text), abs=1e-4)


def test_a_thought_counts_the_tokens_whose_log_probabilities_it_sums_up(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    prompt = prompt_of("WHICH DO YOU LIKE? ", 12)
    [first] = answer(engine, Expansion("a", (), prompt, children((), 1), HOT)).values()
    assert (first.finish, first.num_tokens) == (Finish.LENGTH, 12)
    [whole] = answer(engine, Resumption("a", (0,), prompt_of("", 5), HOT)).values()
    assert (whole.num_tokens, whole.cost.tokens_decoded) == (17, 5)


@pytest.mark.parametrize("options", [{"prefill_tokens": 3}, {"kv_tokens": 16 * 7}, {"deterministic": True}])
def test_chunks_evictions_and_company_change_nothing(options: dict[str, int], tiny_model: Build) -> None:
    model, twin = tiny_model("mistral")
    engine = make_engine(model, **options)
    prompt = Prompt("WHICH DO YOU LIKE? ")
    engine.submit(Expansion("b", (), prompt_of("SOMETHING ELSE", 40), children((), 2), HOT))
    engine.step()
    found = answer(engine, Writing("a", (), prompt, children((), len(TEXTS)), TEXTS))
    for i, text in enumerate(TEXTS):
        want = logprob_by_transformers(model, twin, prompt.text, text)
        assert found["a", (i,)].logprob == pytest.approx(want, abs=1e-4)


def test_logits_of_long_texts_are_made_a_few_at_a_time(tiny_model: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "MAX_GIVEN_TOKENS", 5)
    model, twin = tiny_model("llama")
    num_rows, forward = [], model.forward

    def counting(step: object, rows: list[int]) -> torch.Tensor:
        num_rows.append(len(rows))
        return forward(step, rows)  # type: ignore[arg-type]

    model.forward = counting  # type: ignore[method-assign]
    found = answer(make_engine(model), Writing("a", (), Prompt("LIKE? "), children((), len(TEXTS)), TEXTS))
    assert max(num_rows) == 6  # and the prompt's last
    for i, text in enumerate(TEXTS):
        want = logprob_by_transformers(model, twin, "LIKE? ", text)
        assert found["a", (i,)].logprob == pytest.approx(want, abs=1e-4)


def test_texts_share_the_prompt_and_every_token_that_they_have_in_common(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    texts = ("ABCDEF", "ABCXYZ", "ABC", "A", "ABCDEF")
    found = answer(engine, Writing("a", (), Prompt("0123456789"), children((), 5), texts))
    costs = [found["a", (i,)].cost for i in range(5)]
    # No logits are wanted of a text's last token. The second text finds ABC, the others all that they need.
    assert [cost.tokens_prefilled for cost in costs] == [10 + 5, 2, 0, 0, 0]
    assert [cost.tokens_reused for cost in costs] == [0, 10 + 3, 10 + 2, 10, 10 + 5]
    assert engine.forest.num_tokens == 10 + 5 + 2


def test_a_choice_between_single_tokens_computes_the_prompt_alone(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    found = answer(engine, Writing("a", (), Prompt("A, B OR C? "), children((), 3), ("A", "B", "C")))
    assert sum(child.cost.tokens_prefilled for child in found.values()) == len("A, B OR C? ")
    assert engine.forest.num_tokens == len("A, B OR C? ")


@pytest.mark.parametrize("between", [" SO ", ""])
def test_texts_behind_a_decoded_thought(between: str, tiny_model: Build) -> None:
    model, twin = tiny_model("gemma2")
    engine = make_engine(model)
    start = answer(engine, Expansion("a", (), prompt_of("HELLO "), ((0,),), HOT))["a", (0,)]
    found = answer(engine, Writing("a", (0,), Prompt(between, appended=True), children((0,), 2), ("YES", "NO")))
    before = "HELLO " + start.text + between
    for i, text in enumerate(("YES", "NO")):
        want = logprob_by_transformers(model, twin, before, text)
        assert found["a", (0, i)].logprob == pytest.approx(want, abs=1e-4)


def test_a_text_directly_behind_a_thought_that_the_model_ended(tiny_model: Build) -> None:
    model, twin = tiny_model("llama")
    model.eos_ids = frozenset(range(0, 64, 3))
    engine = make_engine(model)
    found = answer(engine, Expansion("a", (), Prompt("HELLO ", max_tokens=60), children((), 9), HOT))
    path, start = next((path, d) for (_, path), d in found.items() if d.finish is Finish.END and d.text)
    written = answer(engine, Writing("a", path, Prompt("", appended=True), (*[(*path, 0)],), ("YES",)))["a", (*path, 0)]
    want = logprob_by_transformers(model, twin, "HELLO " + start.text, "YES")
    assert written.logprob == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("text", ["TELL ME MORE", "X", ""])
@pytest.mark.parametrize("dropped", [False, True])
def test_a_given_text_is_continued_as_if_it_had_been_in_the_prompt(text: str, dropped: bool, tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    answer(engine, Writing("a", (), Prompt("HELLO "), ((0,),), (text,)))
    if dropped:
        engine.drop("a", (0,))
        assert engine.forest.num_tokens == 0
    child = answer(engine, Expansion("a", (0,), prompt_of("", appended=True), ((0, 0),), HOT))["a", (0, 0)]
    other = make_engine(engine.model)
    want = answer(other, Expansion("a", (0,), prompt_of("HELLO " + text), ((0, 0),), HOT))["a", (0, 0)]
    assert (child.text, child.error) == (want.text, None)
    assert child.logprob == pytest.approx(want.logprob, abs=1e-4)


def test_a_given_text_has_nothing_to_resume(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    written = answer(engine, Writing("a", (), Prompt("HELLO "), ((0,),), ("THERE",)))["a", (0,)]
    again = answer(engine, Resumption("a", (0,), prompt_of("HELLO "), HOT))["a", (0,)]
    assert (again.text, again.logprob, again.finish, again.error) == ("THERE", written.logprob, Finish.GIVEN, None)
    assert again.cost.tokens_decoded == again.cost.tokens_prefilled == 0


def test_a_text_that_is_too_long_fails_alone(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    texts = ("SHORT", "X" * 251, "X" * 250, "\ud800")
    found = answer(engine, Writing("a", (), Prompt("HELLO "), children((), 4), texts))
    assert [child.error is None for _, child in sorted(found.items())] == [True, False, True, False]
    assert found["a", (1,)].error == "a text that ends at token 257: the model takes 256, so give less"
    assert str(found["a", (3,)].error).startswith("the tokenizer refuses the prompt")


def test_texts_that_do_not_fit_into_the_pool_fail_with_their_numbers(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0], kv_tokens=48)
    found = answer(engine, Writing("a", (), Prompt("HELLO "), children((), 2), ("SHORT", "X" * 60)))
    assert {child.error for child in found.values()} == {
        "65 tokens on 5 pages do not fit into a KV pool of 3 pages of 16; raise engine.kv_tokens"
    }
    engine.end_problem("a")
    assert engine.forest.pool.num_free == 3


def test_texts_need_a_prompt_and_as_many_children(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    found = answer(engine, Writing("a", (), Prompt(""), ((0,),), ("SHORT",)))
    assert found["a", (0,)].error == "a prompt without tokens: give it some text"
    found = answer(engine, Writing("a", (), Prompt("HELLO"), ((1,),), ("ONE", "TWO")))
    assert found["a", (1,)].error == "2 texts for 1 children"


def test_logits_that_are_no_numbers_fail_the_texts_that_need_them(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    forward = model.forward

    def poisoned(step: object, rows: list[int]) -> torch.Tensor:
        logits = forward(step, rows).clone()  # type: ignore[arg-type]
        logits[rows.index(8)] = float("nan")  # of the third token of the first text
        return logits

    model.forward = poisoned  # type: ignore[method-assign]
    engine = make_engine(model)
    found = answer(engine, Writing("a", (), Prompt("HELLO "), children((), 3), ("ABCDE", "ABC", "ABXYZ")))
    assert found["a", (0,)].error == "the model returned logits that are NaN or infinite at position 9"
    assert found["a", (1,)].error is None
    assert found["a", (2,)].error is None
    engine.end_problem("a")
    assert engine.forest.num_tokens == 0


def test_a_problem_that_ends_or_is_stopped_while_its_texts_are_measured_keeps_nothing(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0], prefill_tokens=8)
    for problem in "ab":
        engine.submit(Writing(problem, (), Prompt("HELLO " + problem), children((), len(TEXTS)), TEXTS))
    for _ in range(3):
        engine.step()
    engine.stop("a", "time is up")
    engine.end_problem("b")
    found = finish(engine)
    assert {(key[0], child.error) for key, child in found.items()} == {("a", "time is up")}
    engine.end_problem("a")
    assert engine.forest.num_tokens == 0
