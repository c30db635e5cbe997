"""The engine against plain `eager` runs of every root-to-leaf sequence, and against itself in other packings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from jinja2 import TemplateError
from transformers import AttentionInterface, PreTrainedModel

from tests.lanes import slow
from treereason.core import Decoded, Expansion, Prompt, Sampling, UserError
from treereason.engine.attention.eager_step import EagerStep
from treereason.engine.attention.interface import NAME, tree_attention
from treereason.engine.engine import Engine
from treereason.engine.kv.cache import KVCache
from treereason.engine.model.language_model import LanguageModel

Build = Callable[[str], tuple[LanguageModel, PreTrainedModel]]
HOT = Sampling(temperature=1.0)


class Recorder:
    """Stands before a model's forward and keeps the logits of every row that was asked for, by its token sequence."""

    def __init__(self, model: LanguageModel) -> None:
        self.logits: list[tuple[list[int], torch.Tensor]] = []
        self._forward = model.forward
        model.forward = self  # type: ignore[method-assign]

    def __call__(self, step: EagerStep, rows: list[int]) -> torch.Tensor:
        logits = self._forward(step, rows)
        node_of_row = {rows[-1]: node for node, rows in step.rows.items()}
        for row, values in zip(rows, logits, strict=True):
            node = node_of_row[row]
            tokens = [token for part in node.path() for token in part.tokens[: part.num_cached]]
            self.logits.append((tokens, values))
        return logits

    @torch.inference_mode()
    def largest_error(self, twin: PreTrainedModel) -> float:
        """Against plain runs of the sequences; one run has the logits behind all that its sequence begins with."""
        known: dict[tuple[int, ...], torch.Tensor] = {}
        for tokens in sorted((tuple(tokens) for tokens, _ in self.logits), key=len, reverse=True):
            if tokens not in known:
                rows = twin(torch.tensor([tokens])).logits[0]
                known |= {tokens[: i + 1]: row for i, row in enumerate(rows)}
        return max(float((logits - known[tuple(tokens)]).abs().max()) for tokens, logits in self.logits)


def make_engine(model: LanguageModel, **options: Any) -> Engine:
    return Engine(model, **{"seed": 0, "max_branches": 64, "prefill_tokens": 64, "kv_tokens": 1024, **options})


def finish(engine: Engine) -> dict[tuple[str, tuple[int, ...]], Decoded]:
    found: dict[tuple[str, tuple[int, ...]], Decoded] = {}
    while engine.busy:
        done, _ = engine.step()
        engine.forest.check()
        found |= {(child.problem, child.path): child for child in done}
    return found


def grow_prune_and_refill(engine: Engine) -> list[Decoded]:
    """Two problems: fork, go on appended, prune, fresh prompts on shared and on recycled pages."""
    head = "THE HEAD THAT ALL PROBLEMS SHARE, "
    done: dict[tuple[str, tuple[int, ...]], Decoded] = {}
    for problem in "ab":
        prompt = Prompt(f"PROBLEM {problem}", shared=head, max_tokens=9)
        engine.submit(Expansion(problem, (), prompt, ((0,), (1,), (2,)), HOT))
    done |= finish(engine)
    engine.drop("a", (1,))
    engine.drop("b", (0,))
    engine.submit(Expansion("a", (0,), Prompt(" GO", appended=True, max_tokens=7), ((0, 0), (0, 1)), HOT))
    engine.submit(Expansion("b", (2,), Prompt("", appended=True, max_tokens=20), ((2, 0), (2, 1)), HOT))
    again = Prompt("PROBLEM a, SECOND TRY", shared=head, max_tokens=5)
    engine.submit(Expansion("a", (2,), again, ((2, 0), (2, 1)), HOT))
    done |= finish(engine)
    for problem in "ab":
        engine.end_problem(problem)
    engine.submit(Expansion("c", (), Prompt("ON RECYCLED PAGES " * 3, max_tokens=5), ((0,), (1,)), HOT))
    done |= finish(engine)
    engine.end_problem("c")
    return list(done.values())


@pytest.mark.parametrize(
    "kind",
    ["llama", "qwen2", "qwen3", "mistral", "mixtral", "gemma2", "gemma3", "phi3", "olmo2", "granite", "gpt_oss"],
)
def test_logits_of_a_forked_pruned_refilled_forest_equal_eager_runs(kind: str, tiny_model: Build) -> None:
    model, twin = tiny_model(kind)
    recorder = Recorder(model)
    grow_prune_and_refill(make_engine(model))
    assert len(recorder.logits) > 60
    assert recorder.largest_error(twin) < 4e-5


@pytest.fixture
def attention_without() -> Iterator[Callable[[str], None]]:
    """Takes an option away from the engine's attention, for the length of a test."""

    def leave_out(option: str) -> None:
        AttentionInterface.register(NAME, lambda *args, **options: tree_attention(*args, **{**options, option: None}))

    yield leave_out
    AttentionInterface.register(NAME, tree_attention)


@pytest.mark.parametrize(
    ("kind", "option"),
    [("mistral", "sliding_window"), ("gemma2", "sliding_window"), ("gemma2", "softcap"), ("gpt_oss", "s_aux")],
)
def test_a_feature_that_attention_left_out_would_show(
    kind: str, option: str, tiny_model: Build, attention_without: Callable[[str], None]
) -> None:
    model, twin = tiny_model(kind)
    recorder = Recorder(model)
    attention_without(option)
    grow_prune_and_refill(make_engine(model))
    assert recorder.largest_error(twin) > 1e-2


@pytest.mark.parametrize("options", [{"max_branches": 1}, {"max_branches": 3}, {"prefill_tokens": 5}])
def test_results_do_not_depend_on_how_much_is_done_at_once(options: dict[str, int], tiny_model: Build) -> None:
    want = {(d.problem, d.path): d for d in grow_prune_and_refill(make_engine(tiny_model("llama")[0]))}
    got = {(d.problem, d.path): d for d in grow_prune_and_refill(make_engine(tiny_model("llama")[0], **options))}
    assert {key: (d.text, d.cost) for key, d in got.items()} == {key: (d.text, d.cost) for key, d in want.items()}


def test_a_shared_head_is_stored_once_and_a_fork_costs_no_page(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    head = "EXAMPLES " * 8
    for problem in "abc":
        paths = tuple((i,) for i in range(5))
        engine.submit(Expansion(problem, (), Prompt("Q" + problem, shared=head, max_tokens=3), paths, HOT))
    done = finish(engine)
    costs = {problem: done[problem, (0,)].cost for problem in "abc"}
    assert {cost.tokens_prefilled for cost in costs.values()} == {2}, "whichever problem comes first"
    assert {cost.tokens_reused for cost in costs.values()} == {len(head)}
    assert engine.forest.num_tokens <= len(head) + 3 * (2 + 5 * 2)
    for problem in "abc":
        engine.end_problem(problem)
    assert engine.forest.num_tokens == len(head)


def test_no_problem_id_is_taken_for_the_run(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    engine.submit(Expansion("", (), Prompt("Q", shared="EXAMPLES ", max_tokens=3), ((0,),), HOT))
    finish(engine)
    engine.end_problem("")
    assert engine.forest.num_tokens == len("EXAMPLES ")


def test_stop_strings_end_a_thought_and_its_tokens_can_be_continued(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    engine = make_engine(model)
    free = Prompt("SOME PROMPT", max_tokens=30)
    engine.submit(Expansion("a", (), free, ((0,),), HOT))
    text = finish(engine)["a", (0,)].text
    stop = text[10:12]
    engine = make_engine(model)
    stopping = Prompt("SOME PROMPT", max_tokens=30, stop=(stop,))
    engine.submit(Expansion("a", (), stopping, ((0,),), HOT))
    stopped = finish(engine)["a", (0,)]
    assert stopped.text == text[: text.index(stop)]
    engine.submit(Expansion("a", (0,), Prompt("", appended=True, max_tokens=4), ((0, 0),), Sampling(0.0)))
    assert finish(engine)["a", (0, 0)].cost.tokens_reused == len("SOME PROMPT") + len(stopped.text) + 1


def test_token_prompts_decode_to_their_limit_when_the_end_is_ignored(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    model.eos_ids = frozenset(range(64))
    for ignore_end, num_decoded in ((False, 1), (True, 12)):
        engine = make_engine(model)
        prompt = Prompt("", token_ids=(5, 6, 7), max_tokens=12, ignore_end=ignore_end)
        engine.submit(Expansion("a", (), prompt, ((0,),), HOT))
        assert finish(engine)["a", (0,)].cost.tokens_decoded == num_decoded


def test_prompts_that_cannot_be_served_fail_with_a_reason(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0], kv_tokens=32)
    engine.submit(Expansion("long", (), Prompt("X" * 256), ((0,),), HOT))
    engine.submit(Expansion("empty", (), Prompt(""), ((0,),), HOT))
    engine.submit(Expansion("large", (), Prompt("X" * 60), ((0,),), HOT))
    engine.submit(Expansion("small", (), Prompt("X" * 6, max_tokens=3), ((0,),), HOT))
    errors = {problem: child.error for (problem, _), child in finish(engine).items()}
    assert errors["long"] == "a prompt of 256 tokens: the model takes 256, answer included, so give less"
    assert errors["empty"] == "a prompt without tokens: give it some text"
    assert errors["large"] == "60 tokens on 4 pages do not fit into a KV pool of 2 pages of 16; raise engine.kv_tokens"
    assert errors["small"] is None


# The longest branch alone needs 8.
@pytest.mark.parametrize("num_pages", [8, 9, 11, 14, 30, *slow(10, 12, 13, *range(15, 20))])
def test_every_pool_size_gives_the_answers_of_an_unlimited_pool(num_pages: int, tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    want = {(d.problem, d.path): d.text for d in grow_prune_and_refill(make_engine(model))}
    engine = make_engine(model, kv_tokens=num_pages * 16)
    got = {(d.problem, d.path): d.text for d in grow_prune_and_refill(engine)}
    assert got == want
    assert engine.forest.num_tokens_peak <= num_pages * 16


def test_a_small_pool_computes_again_what_it_evicted_and_counts_it_apart(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    totals = []
    for num_pages in (64, 8):
        engine = make_engine(model, kv_tokens=num_pages * 16)
        paths = tuple((i,) for i in range(6))
        engine.submit(Expansion("a", (), Prompt("X" * 40, max_tokens=30, ignore_end=True), paths, HOT))
        steps = []
        while engine.busy:
            _, figures = engine.step()
            assert figures is not None
            steps.append(figures)
            engine.forest.check()
        totals.append(
            [sum(getattr(s, f"tokens_{name}") for s in steps) for name in ("prefilled", "decoded", "rebuilt")]
        )
    roomy, tight = totals
    assert tight[:2] == roomy[:2]
    assert roomy[2] == 0 < tight[2]


def test_a_branch_that_can_never_fit_fails_alone_with_its_numbers(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0], kv_tokens=16 * 3)
    engine.submit(Expansion("a", (), Prompt("X" * 16, max_tokens=60, ignore_end=True), ((0,),), HOT))
    engine.submit(Expansion("b", (), Prompt("Y" * 8, max_tokens=8), ((0,), (1,)), HOT))
    found = finish(engine)
    assert (
        found["a", (0,)].error
        == "49 tokens on 4 pages do not fit into a KV pool of 3 pages of 16; raise engine.kv_tokens"
    )
    assert found["b", (0,)].error is None
    assert found["b", (1,)].error is None
    for problem in "ab":
        engine.end_problem(problem)
    assert engine.forest.pool.num_free == 3


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (
            Prompt("HALF A PAIR \ud800"),
            "the tokenizer refuses the prompt: 'utf-8' codec can't encode character '\\ud800'",
        ),
        (Prompt("HALF A PAIR \ud800", appended=True), "the tokenizer refuses the prompt: 'utf-8' codec can't encode"),
        (Prompt("", token_ids=(5, 64)), "a prompt with token id 64; the model's vocabulary is 0 to 63"),
        (Prompt("", token_ids=(-1,), appended=True), "a prompt with token id -1; the model's vocabulary is 0 to 63"),
    ],
)
def test_a_prompt_that_the_model_cannot_read_fails_alone(prompt: Prompt, said: str, tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    engine.submit(Expansion("a", (), Prompt("HELLO", max_tokens=3), ((0,),), HOT))
    finish(engine)
    engine.submit(Expansion("a", (0,), prompt, ((0, 0),), HOT))
    engine.submit(Expansion("b", (), Prompt("HELLO", max_tokens=3), ((0,),), HOT))
    found = finish(engine)
    assert str(found["a", (0, 0)].error).startswith(said)
    assert found["b", (0,)].error is None


def test_a_chat_template_that_refuses_a_prompt_fails_it_alone(tiny_model: Build) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise TemplateError("roles must\nalternate")

    model, _ = tiny_model("llama")
    model.style, model.tokenizer.apply_chat_template = "chat", refuse
    engine = make_engine(model)
    engine.submit(Expansion("a", (), Prompt("HELLO"), ((0,),), HOT))
    assert finish(engine)["a", (0,)].error == "the model's chat template refuses the prompt: roles must alternate"


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_nan_or_infinite_fail_their_branch_only(tiny_model: Build, poison: float) -> None:
    model, _ = tiny_model("llama")
    forward = model.forward

    def poisoned(step: EagerStep, rows: list[int]) -> torch.Tensor:
        logits = forward(step, rows).clone()
        if len(rows) == 3:
            logits[1] = poison
        return logits

    model.forward = poisoned  # type: ignore[method-assign]
    engine = make_engine(model)
    engine.submit(Expansion("a", (), Prompt("HELLO", max_tokens=6), ((0,), (1,), (2,)), HOT))
    errors = [child.error for child in finish(engine).values() if child.error]
    assert errors == ["the model returned logits that are NaN or infinite at position 6"]


def test_ending_a_problem_in_flight_returns_everything(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0], max_branches=2, prefill_tokens=8)
    for problem in "abc":
        engine.submit(Expansion(problem, (), Prompt(problem * 20, max_tokens=9), ((0,), (1,), (2,)), HOT))
    for _ in range(5):
        engine.step()
    for problem in "abc":
        engine.end_problem(problem)
    assert engine.forest.num_tokens == 0
    assert not engine.busy


def test_stopping_a_problem_fails_what_it_decodes_and_nothing_else(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0])
    for problem in "ab":
        prompt = Prompt("HELLO " + problem, max_tokens=20, ignore_end=True)
        engine.submit(Expansion(problem, (), prompt, ((0,), (1,)), HOT))
    for _ in range(4):
        engine.step()
    engine.stop("a", "time is up")
    found = finish(engine)
    assert [found["a", path].error for path in ((0,), (1,))] == ["time is up"] * 2
    assert [found["b", path].error for path in ((0,), (1,))] == [None] * 2
    assert found["a", (0,)].cost.tokens_decoded == 4
    for problem in "ab":
        engine.end_problem(problem)
    assert engine.forest.num_tokens == 0


def needle_bits(model: LanguageModel, deterministic: bool, seed: int) -> set[tuple[tuple[int, ...], bytes]]:
    """(tokens so far, bits of the logits) of every step of the needle, in company that the seed draws."""
    rng = random.Random(seed)
    recorder = Recorder(model)
    engine = make_engine(model, max_branches=16, prefill_tokens=48, deterministic=deterministic)
    needle = "THE NEEDLE IN THE STACK"
    companions = [f"{'HAY ' * rng.randint(1, 9)}{i}" for i in range(rng.randint(0, 9))]
    prompts = [*companions, needle]
    rng.shuffle(prompts)
    for prompt in prompts:
        children = tuple((i,) for i in range(1 if prompt == needle else rng.randint(1, 3)))
        length = 6 if prompt == needle else rng.randint(1, 12)
        engine.submit(Expansion(prompt, (), Prompt(prompt, max_tokens=length), children, Sampling(0.0)))
        for _ in range(rng.randint(0, 3)):
            engine.step()
    finish(engine)
    own = model.encode(Prompt(needle))[0]
    model.forward = recorder._forward  # type: ignore[method-assign]
    return {(tuple(t), logits.numpy().tobytes()) for t, logits in recorder.logits if t[: len(own)] == own}


def test_deterministic_mode_gives_a_branch_one_bit_pattern_in_any_company(tiny_model: Build) -> None:
    model, _ = tiny_model("llama")
    one, many = (set().union(*(needle_bits(model, on, seed) for seed in range(12))) for on in (True, False))
    assert len(one) == len({tokens for tokens, _ in one}) == 6
    assert len(many) > 6


def test_deterministic_mode_answers_as_the_fast_one(tiny_model: Build) -> None:
    model, _ = tiny_model("gemma2")
    want = {(d.problem, d.path): d.text for d in grow_prune_and_refill(make_engine(model))}
    got = {(d.problem, d.path): d.text for d in grow_prune_and_refill(make_engine(model, deterministic=True))}
    assert got == want


def test_a_pool_never_holds_more_tokens_than_it_was_given(tiny_model: Build) -> None:
    engine = make_engine(tiny_model("llama")[0], kv_tokens=47)
    assert engine.forest.pool.num_pages * 16 == 32


def test_a_kv_pool_larger_than_memory_is_a_line_with_its_option() -> None:
    cache = KVCache(num_pages=2**44, page_size=16)
    one = torch.zeros(1, 2, 32)
    with pytest.raises(UserError, match=f"engine.kv_tokens={2**48}: KV of so many tokens does not fit into memory"):
        cache.store(0, torch.tensor([0]), one, one)
