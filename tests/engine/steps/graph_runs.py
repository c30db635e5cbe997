"""Engines whose decode steps become graphs, small models for them, and what a run of one was seen to do."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch

pytest.importorskip("triton")
pytest.importorskip("transformers")

from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, PreTrainedModel

from treereason.core import Decoded, Expansion, Prompt, Sampling
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.schedule.draft import LaidDraft
from treereason.engine.steps.cuda_capture import Body, Capture
from treereason.engine.steps.graph_steps import GraphSteps
from treereason.events import StepDone

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

COMMON: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**{**COMMON, "num_hidden_layers": 1}),  # interpreted kernels are slow
    "gemma2": lambda: Gemma2Config(
        **COMMON, sliding_window=6, attn_logit_softcapping=1.0, query_pre_attn_scalar=16, pad_token_id=0
    ),
}
HOT = Sampling(temperature=1.0)
Found = dict[tuple[str, tuple[int, ...]], Decoded]


class Letters:
    """One token a character: chr(32) is 0, and the last id is the end."""

    eos_token_id = 63

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:  # noqa: ARG002
        return {"input_ids": [(ord(letter) - 32) % 63 for letter in text]}

    def decode(self, tokens: list[int], skip_special_tokens: bool = True) -> str:  # noqa: ARG002
        return "".join(chr(token + 32) for token in tokens)


def models(kind: str) -> tuple[LanguageModel, LanguageModel]:
    """The same random weights on the torch backend of a CPU, and where graphs are made."""
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    network: PreTrainedModel = auto.from_config(CONFIGS[kind](), dtype=torch.float32)
    twin: Any = copy.deepcopy(network)
    model = LanguageModel(twin.to(DEVICE), Letters(), "plain")
    model.attention = "triton"
    return LanguageModel(network, Letters(), "plain"), model


def run_again(body: Body) -> Body:
    """A capture for machines without graphs."""
    body()
    return body


def make_engine(
    model: LanguageModel, capture: Capture | None = run_again if INTERPRETED else None, **options: Any
) -> Engine:
    graphs: dict[str, Any] = {"capture": capture} if model.attention == "triton" else {}
    options = {"max_branches": 8, "prefill_tokens": 64, "kv_tokens": 512, **options}
    return Engine(model, seed=0, **graphs, **options)


def graphs_of(engine: Engine) -> GraphSteps:
    graphs = engine._step_kinds[0]
    assert isinstance(graphs, GraphSteps)
    return graphs


class Run:
    """Steps an engine, checks the pools after each step, and keeps what came out."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.found: Found = {}
        self.launches: list[str] = []
        self.num_rebuilt = 0
        self.keeps_logits = INTERPRETED  # a graph has none to give away
        self.logits: dict[tuple[int, ...], torch.Tensor] = {}
        self._used: set[int] = set()
        model: Any = engine.model
        self._forward, self._forward_all = model.forward, model.forward_all
        model.forward, model.forward_all = self._eager, self._captured
        self._reserve_page = engine.forest.reserve_page
        engine.forest.reserve_page = self._reserve  # type: ignore[method-assign]
        if engine.speculation is not None:
            self._verify = engine.speculation.verify
            engine.speculation.verify = self._verified  # type: ignore[assignment,method-assign]

    def submit(self, problem: str, parent: tuple[int, ...], prompt: Prompt, k: int, sampling: Sampling = HOT) -> None:
        self.engine.submit(Expansion(problem, parent, prompt, tuple((*parent, i) for i in range(k)), sampling))

    def steps(self, count: int = 10_000) -> None:
        for _ in range(count):
            if not self.engine.busy:
                return
            done, figures = self.engine.step()
            self.found |= {(child.problem, child.path): child for child in done}
            self.engine.forest.check()
            self._check_pools()
            if isinstance(figures, StepDone):
                self.launches.append(figures.launch)
                self.num_rebuilt += figures.tokens_rebuilt

    def _eager(self, step: Any, rows: list[int]) -> torch.Tensor:
        logits: torch.Tensor = self._forward(step, rows)
        upto = {
            row: node.start + node.num_cached - len(of_node) + i + 1
            for node, of_node in step.rows.items()
            for i, row in enumerate(of_node)
        }
        node_of = {row: node for node, of_node in step.rows.items() for row in of_node}
        for row, of_row in zip(rows, logits, strict=True):
            self.logits[tuple(node_of[row].token_ids()[: upto[row]])] = of_row
        return logits

    def _captured(self, *args: Any) -> torch.Tensor:
        logits: torch.Tensor = self._forward_all(*args)
        if self.keeps_logits:
            loaded = graphs_of(self.engine)._loaded
            assert loaded is not None
            nodes = [node for node, rows in loaded.rows.items() for _ in rows]
            for node, token, position, row in zip(nodes, *args[:2], logits, strict=False):
                self.logits[(*node.token_ids()[: int(position)], int(token))] = row
        return logits

    def _reserve(self, node: Any) -> bool:
        """A step that is launched ahead writes where the next token would be, also for a branch that has ended."""
        reserved = self._reserve_page(node)
        if reserved:
            self._note(node, node.num_cached)
        return reserved

    def _verified(self, laid: LaidDraft, *args: Any) -> int:
        """What was proposed and wrong lies where it was computed."""
        for node, index in laid.places:
            self._note(node, index)
        return self._verify(laid, *args)

    def _note(self, node: Any, index: int) -> None:
        size = self.engine.forest.page_size
        self._used.add(node.pages[index // size] * size + index % size)

    def _check_pools(self) -> None:
        """Slots that hold no NaN are those of tokens that some node stored: padding has written nowhere."""
        forest = self.engine.forest
        for node in forest.nodes():
            slots = [page * forest.page_size + i for page in node.pages for i in range(forest.page_size)]
            self._used |= set(slots[: node.num_cached])
        for pools in self.engine._cache._layers.values():
            for pool in pools:
                written = (~pool.isnan().any(dim=(1, 2))).nonzero()[:, 0].tolist()
                assert set(written) <= self._used


def grow_prune_and_go_on(run: Run, num_appended: int) -> None:
    """Forks, branches that end at different steps, a prompt in between that leaves the branches as they were, a prune,
    appended thoughts, a nucleus, temperature 0, and, with enough tokens, leaves that outgrow their first page."""
    run.submit("a", (), Prompt("ASK A", shared="THE HEAD, ", max_tokens=8, ignore_end=True), 3)
    run.submit("b", (), Prompt("ASK B", shared="THE HEAD, ", max_tokens=3), 2, Sampling(0.0))
    run.steps(5)
    run.submit("c", (), Prompt("ONE TOKEN", max_tokens=1), 1)
    run.steps()
    run.engine.drop("a", (1,))
    run.submit(
        "a", (0,), Prompt(" GO", appended=True, max_tokens=num_appended, ignore_end=True), 2, Sampling(1.0, top_p=0.8)
    )
    run.steps()
    for problem in "abc":
        run.engine.end_problem(problem)


def check_equal(got: Run, want: Run) -> None:
    assert {key: (d.text, d.cost, d.error) for key, d in got.found.items()} == {
        key: (d.text, d.cost, d.error) for key, d in want.found.items()
    }
    for key, child in want.found.items():
        assert got.found[key].logprob == pytest.approx(child.logprob, abs=1e-3)
    if INTERPRETED:
        assert got.logits.keys() >= want.logits.keys(), "more are those that were computed for branches that had ended"
        for tokens, logits in want.logits.items():
            torch.testing.assert_close(got.logits[tokens], logits, atol=1e-5, rtol=1e-5)
