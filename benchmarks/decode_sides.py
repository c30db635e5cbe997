"""The sides of `benchmarks.decode`: each decodes the same samples from one prompt and is timed alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig, PreTrainedModel

from treereason.core import Expansion, Prompt, Sampling
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.packed import pack_linears


@dataclass(frozen=True)
class Case:
    """`samples` continuations of `num_tokens` tokens each; temperature 0 is greedy."""

    prompt: tuple[int, ...]
    samples: int
    num_tokens: int
    temperature: float = 0.7


@dataclass(frozen=True)
class Run:
    """Seconds in all, and of these until the first sampled tokens; tokens[sample] where a side tells them."""

    seconds: float
    prefill: float
    tokens: list[list[int]]


Side = Callable[[Case], Run]


class NumberTokenizer:
    """Tokens are written as their numbers; there is no end of text."""

    eos_token_id = -1

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:  # noqa: ARG002
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, tokens: list[int], skip_special_tokens: bool = True) -> str:  # noqa: ARG002
        return " ".join(map(str, tokens))


def random_llama(dtype: torch.dtype, *, layers: int, hidden: int, max_positions: int = 8192) -> PreTrainedModel:
    """Random weights, the same ones every time. 8 layers and 512 wide: 8/2 heads of 64, intermediate 1,408."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 256),
        max_position_embeddings=max_positions,
        bos_token_id=None,
        eos_token_id=None,
    )
    auto: Any = AutoModelForCausalLM
    network: PreTrainedModel = auto.from_config(config, dtype=dtype, attn_implementation="sdpa")
    network.train(False)
    return network


def engine_side(network: PreTrainedModel, *, per_branch: bool) -> Side:
    """Our engine: the tree, or the same with every branch reading its own path."""
    own = copy.deepcopy(network)
    pack_linears(own)  # as when a model is loaded
    model = LanguageModel(own, NumberTokenizer(), "plain")

    def run(case: Case) -> Run:
        engine = Engine(
            model,
            seed=0,
            max_branches=case.samples,
            prefill_tokens=len(case.prompt),
            kv_tokens=len(case.prompt) + case.samples * (case.num_tokens + 16) + 64,
            attention="sequence" if per_branch else "tree",
        )
        prompt = Prompt("", token_ids=case.prompt, max_tokens=case.num_tokens, ignore_end=True)
        children = tuple((i,) for i in range(case.samples))
        begin = perf_counter()
        engine.submit(Expansion("benchmark", (), prompt, children, Sampling(case.temperature)))
        decoded, _ = engine.step()
        prefill = perf_counter() - begin
        while engine.busy:
            decoded += engine.step()[0]
        seconds = perf_counter() - begin
        for child in decoded:
            if child.error is not None:
                raise RuntimeError(child.error)
        tokens = [list(map(int, child.text.split())) for child in sorted(decoded, key=lambda child: child.path)]
        return Run(seconds, prefill, tokens)

    return run


def generate_side(network: PreTrainedModel) -> Side:
    """transformers' `generate` with num_return_sequences: it copies the prompt before it reads it."""

    def run(case: Case) -> Run:
        how = {"do_sample": True, "temperature": case.temperature, "top_k": 0} if case.temperature else {}
        ids = torch.tensor([case.prompt])
        sequences = case.samples
        if not case.temperature:  # refuses several sequences of a greedy search
            ids, sequences = ids.expand(sequences, -1), 1
        begin = perf_counter()
        out = network.generate(  # type: ignore[operator]
            ids,
            attention_mask=torch.ones_like(ids),
            num_return_sequences=sequences,
            min_new_tokens=case.num_tokens,
            max_new_tokens=case.num_tokens,
            pad_token_id=0,
            **({"do_sample": False} | how),
        )
        seconds = perf_counter() - begin
        return Run(seconds, float("nan"), out[:, len(case.prompt) :].tolist())

    return run


def shared_prefill_side(network: PreTrainedModel) -> Side:
    """transformers at its fairest: prefill once, copy the KV cache to every sample, decode as one batch."""

    @torch.inference_mode()
    def run(case: Case) -> Run:
        begin = perf_counter()
        cache: Any = DynamicCache(config=network.config)
        # By position: its name is `past_key_values` up to transformers 5.23, `cache` later.
        logits = network(torch.tensor([case.prompt]), None, None, cache, logits_to_keep=1).logits
        cache.batch_repeat_interleave(case.samples)
        taken = [_draw(logits[:, -1].expand(case.samples, -1), case.temperature)]
        prefill = perf_counter() - begin
        for _ in range(case.num_tokens - 1):
            logits = network(taken[-1][:, None], None, None, cache, logits_to_keep=1).logits
            taken.append(_draw(logits[:, -1], case.temperature))
        seconds = perf_counter() - begin
        return Run(seconds, prefill, torch.stack(taken, dim=1).tolist())

    return run


def _draw(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    if not temperature:
        return logits.argmax(dim=-1)
    return torch.multinomial(torch.softmax(logits.float() / temperature, dim=-1), 1)[:, 0]
