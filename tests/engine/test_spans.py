"""Logits under a span policy equal those of a dense mask, whatever the forest has been through."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.engine.driving import make_engine, prompt_of
from tests.engine.hash_model import RandomPolicy
from tests.fakes import CONFIGS, LetterTokenizer, compiles
from tests.lanes import slow
from treereason.core import Expansion, Sampling, Writing
from treereason.core.spans import EVERYTHING, SpanGrammar, SpanPolicy, View, visible
from treereason.engine.attention.eager_step import AttentionKind
from treereason.engine.attention.forest_plan import forest_plan
from treereason.engine.attention.sequence_plan import each_branch_alone
from treereason.engine.attention.span_reader import SpanReader
from treereason.engine.engine import Engine
from treereason.engine.kv.forest import RUN, Forest
from treereason.engine.kv.pages import PagePool
from treereason.engine.model.language_model import LanguageModel

COMPILED: tuple[AttentionKind, ...] = ("compiled", "compiled_sequence") if compiles() else ()
QUICK: tuple[AttentionKind, ...] = ("tree", *COMPILED[:1])
SLOW: tuple[AttentionKind, ...] = ("sequence", "invariant", *COMPILED[1:])
PROMPT = "a=bc\nb=aa\nc=ab\na=ba=b\nab=c"


class ShowsAll:
    """A policy without an effect."""

    def start(self) -> None:
        return None

    def read(self, state: None, token: int, position: int) -> tuple[None, View]:  # noqa: ARG002
        return None, EVERYTHING


class Watched:
    """Keeps each row of logits that an engine's model gives, by the row's own path."""

    def __init__(self, model: LanguageModel) -> None:
        self.rows: list[tuple[tuple[int, ...], torch.Tensor]] = []
        watched: Any = model
        self._forward = model.forward
        watched.forward = self.forward

    def forward(self, step: Any, rows: list[int]) -> torch.Tensor:
        logits: torch.Tensor = self._forward(step, rows)
        for node, node_rows in step.rows.items():
            tokens = [token for part in node.path() for token in part.tokens[: part.num_cached]]
            for row, got in zip(rows, logits, strict=True):
                if row in node_rows:
                    last = len(tokens) - (node_rows.stop - 1 - row)
                    self.rows.append((tuple(tokens[:last]), got))
        return logits

    @torch.inference_mode()
    def largest_error(self, twin: PreTrainedModel, policy: SpanPolicy) -> float:
        """Against a dense mask over each path; one run has the logits behind all that its path begins with."""
        known: dict[tuple[int, ...], torch.Tensor] = {}
        for tokens in sorted((tokens for tokens, _ in self.rows), key=len, reverse=True):
            if tokens not in known:
                hidden = ~torch.tensor(visible(policy, tokens))
                mask = torch.zeros(1, 1, *hidden.shape).masked_fill(hidden, torch.finfo(torch.float32).min)
                dense = twin(torch.tensor([tokens]), attention_mask=mask).logits[0]
                known |= {tokens[: i + 1]: row for i, row in enumerate(dense)}
        return max(float((got - known[tokens]).abs().max()) for tokens, got in self.rows)


def grow_prune_evict_and_go_on(engine: Engine) -> int:
    """Forks of forks, given texts, drops, and a pool too small for all. Returns how many tokens were rebuilt."""
    requests = [
        Expansion(
            "a", (), prompt_of("be\n" + PROMPT, max_tokens=20, shared="d=e\n"), ((0,), (1,), (2,)), Sampling(1.0)
        ),
        Expansion("b", (), prompt_of(PROMPT[:9], max_tokens=30, shared="d=e\n"), ((0,), (1,)), Sampling(1.0)),
    ]
    num_rebuilt = 0

    def run() -> None:
        nonlocal num_rebuilt
        while engine.busy:
            done, figures = engine.step()
            engine.forest.check()
            assert all(child.error is None for child in done)
            num_rebuilt += figures.tokens_rebuilt if figures else 0

    for request in requests:
        engine.submit(request)
    run()
    engine.drop("a", (1,))
    appended = prompt_of("\nc=a", appended=True, max_tokens=25)
    engine.submit(Expansion("a", (0,), appended, ((0, 0), (0, 1)), Sampling(1.0)))
    engine.submit(Writing("a", (2,), prompt_of("\nb", appended=True), ((2, 0), (2, 1)), ("a=c\nc", "a=b")))
    engine.submit(Expansion("a", (1,), appended, ((1, 0),), Sampling(1.0)))
    run()
    return num_rebuilt


def build() -> tuple[LanguageModel, PreTrainedModel]:
    """A random model whose heads suit the compiled kernels, and the same as transformers runs it."""
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    config = CONFIGS["llama"]()
    config.head_dim = 32
    network = auto.from_config(config, attn_implementation="eager", dtype=torch.float32)
    return LanguageModel(copy.deepcopy(network), LetterTokenizer(), "plain"), network.eval()


def policy_named(name: str, model: LanguageModel) -> SpanPolicy:
    if name == "random":
        return RandomPolicy(7)
    return SpanGrammar(labels=("a", "b", "c", "d"), sink=2, wide=name == "wide").policy(model.encode_text)


@pytest.mark.parametrize(
    ("kind", "policy"),
    [
        ("tree", "random"),
        *((kind, "lines") for kind in QUICK),
        *slow(*itertools.product(SLOW, ["lines", "random"]), *((kind, "wide") for kind in QUICK)),
    ],
)
def test_logits_equal_a_dense_mask_on_forked_pruned_and_rebuilt_forests(kind: AttentionKind, policy: str) -> None:
    model, twin = build()
    watched, spans = Watched(model), policy_named(policy, model)
    options = {"deterministic": True, "max_branches": 4} if kind == "invariant" else {"attention": kind}
    engine = make_engine(model, spans=spans, kv_tokens=160, prefill_tokens=24, **options)
    assert grow_prune_evict_and_go_on(engine) > 0
    assert len(watched.rows) > 100
    assert watched.largest_error(twin, spans) < 1e-5


@settings(deadline=None, max_examples=2)
@given(seed=st.integers(0, 2**32 - 1), prefill_tokens=st.sampled_from([3, 17, 64]))
def test_logits_equal_a_dense_mask_under_random_policies(seed: int, prefill_tokens: int) -> None:
    model, twin = build()
    watched, spans = Watched(model), RandomPolicy(seed)
    engine = make_engine(model, spans=spans, kv_tokens=160, prefill_tokens=prefill_tokens)
    grow_prune_evict_and_go_on(engine)
    assert len(watched.rows) > 100
    assert watched.largest_error(twin, spans) < 1e-5


@pytest.mark.parametrize("kind", [*QUICK, *slow(*SLOW)])
def test_a_policy_that_shows_all_gives_the_bits_of_none(kind: AttentionKind) -> None:
    logits: list[list[torch.Tensor]] = [[], []]
    for found, spans in zip(logits, (None, ShowsAll()), strict=True):
        model: Any = build()[0]
        forward = model.forward

        def keep(step: Any, rows: list[int], forward: Any = forward, found: Any = found) -> torch.Tensor:
            logits: torch.Tensor = forward(step, rows)
            found.append(logits)
            return logits

        model.forward = keep
        options = {"deterministic": True, "max_branches": 4} if kind == "invariant" else {"attention": kind}
        engine = make_engine(model, spans=spans, kv_tokens=160, prefill_tokens=24, **options)
        grow_prune_evict_and_go_on(engine)
    assert all(torch.equal(plain, shown) for plain, shown in zip(*logits, strict=True))


def test_kv_tokens_are_counted_with_spans_by_the_tree_and_branch_by_branch() -> None:
    model, _ = build()
    engine = make_engine(model, spans=policy_named("lines", model), prefill_tokens=64)
    engine.submit(Expansion("a", (), prompt_of("..a=bc\na", max_tokens=3), ((0,), (1,)), Sampling(0.0)))
    steps = []
    while engine.busy:
        _, figures = engine.step()
        steps += [figures] if figures else []
    # The sink, the line `a=bc` and the line so far touch: the last row of the prompt sees all.
    assert (steps[0].kv_tokens_read_spans, steps[0].kv_tokens_read_tree) == (8, 8)
    assert steps[1].kv_tokens_read_sequence == 2 * 9
    assert steps[1].kv_tokens_read_spans <= steps[1].kv_tokens_read_tree == 10


def test_the_example_of_the_page_reads_these_parts() -> None:
    """docs/spans.md, "An example by hand"."""
    policy = SpanGrammar(labels=("c", "d")).policy(encode)
    forest = Forest(PagePool(4), page_size=16)
    trunk = forest.attach(encode("^c=41\nd=c2\nc=41\n"), RUN)
    forest.compute(trunk, 16)
    leaves = []
    for token in encode("dc"):
        leaf = forest.fork(trunk, RUN)
        leaf.tokens = [token]
        forest.compute(leaf, 1)
        leaves.append(leaf)
    planned = forest_plan(forest, dict.fromkeys(leaves, 1), reader=SpanReader(policy))
    plan = planned.plan
    assert plan.node_start.tolist() == [0, 6, 11, 16, 16]
    assert plan.node_tokens.tolist() == [1, 5, 5, 1, 1]
    assert plan.node_offset.tolist() == [0, 6, 11, 0, 0]
    assert list(zip(plan.node_lo.tolist(), plan.node_hi.tolist(), strict=True)) == [
        (0, 2),
        (0, 1),
        (1, 2),
        (0, 1),
        (1, 2),
    ]
    alone = each_branch_alone(planned.whole, planned.num_new)
    reads = [each.kv_tokens_read_tree for each in (plan, planned.whole, alone)]
    assert reads == [13, 18, 34]


def encode(text: str) -> list[int]:
    return list(map(ord, text))


def test_tokens_that_a_growing_node_takes_back_are_not_remembered() -> None:
    policy = SpanGrammar(labels=("c", "d")).policy(encode)
    forest, reader = Forest(PagePool(4), page_size=16), SpanReader(policy)
    leaf = forest.fork(forest.attach(encode("^c=41\nd=c2\n"), RUN), RUN)
    leaf.tokens = encode("c")
    assert reader.at_end(leaf) == (((0, 6),), 11)
    leaf.tokens = encode("d")
    assert reader.at_end(leaf) == (((0, 1),), 6)
