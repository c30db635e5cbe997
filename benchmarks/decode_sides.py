"""Our engine and transformers as sides of `benchmarks.decode`."""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch loads OpenMP, as the program does (docs/log.md)

from dataclasses import replace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel

from benchmarks.decode_case import Case, Job, Model, Side
from treereason.controller.free_cores import free_cores
from treereason.core import Decoded, Expansion, Prompt, Sampling, ThoughtPath
from treereason.engine.attention.eager_step import AttentionKind
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.make_quick import make_quick


class NumberTokenizer:
    """Tokens are written as their numbers; there is no end of text."""

    eos_token_id = -1

    def get_added_vocab(self) -> dict[str, int]:
        return {}

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:  # noqa: ARG002
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, tokens: list[int], skip_special_tokens: bool = True) -> str:  # noqa: ARG002
        return " ".join(map(str, tokens))


def tree(model: Model) -> Side:
    """Our engine, as it is used."""
    return engine_side(_network(model), per_branch=False)


def sequence(model: Model) -> Side:
    """The same, with every branch reading its own path."""
    return engine_side(_network(model), per_branch=True)


def shared_prefill(model: Model) -> Side:
    """transformers at its fairest, see shared_prefill_side."""
    return shared_prefill_side(_network(model))


def _network(model: Model) -> PreTrainedModel:
    torch.set_num_threads(model.threads)
    auto: Any = AutoModelForCausalLM
    network: PreTrainedModel = auto.from_pretrained(model.folder, dtype=model.dtype, attn_implementation="sdpa")
    return network


def engine_side(network: PreTrainedModel, *, per_branch: bool) -> Side:
    """Our engine on this network, which it changes."""
    model = LanguageModel(network, NumberTokenizer(), "plain")
    make_quick(model, network)  # as when a model is loaded
    alone: AttentionKind = "compiled_sequence" if model.attention == "compiled" else "sequence"
    most_threads = torch.get_num_threads()

    def ready(case: Case) -> Job:
        free = free_cores()
        torch.set_num_threads(most_threads if free is None else min(most_threads, max(1, free)))  # as a run does
        engine = Engine(
            model,
            seed=0,
            max_branches=case.most_branches,
            kv_tokens=case.kv_tokens + 32 * case.most_branches * len(case.levels),
            attention=alone if per_branch else None,
        )

        def level(asked: list[tuple[ThoughtPath, Prompt]], branches: int) -> list[Decoded]:
            """Decode below each parent; ranks of children count on over what is below one parent."""
            for i, (parent, prompt) in enumerate(asked):
                ranks = range(branches) if parent else range(i * branches, (i + 1) * branches)
                children = tuple((*parent, rank) for rank in ranks)
                engine.submit(Expansion("benchmark", parent, prompt, children, Sampling(case.temperature)))
            decoded: list[Decoded] = []
            while engine.busy:
                decoded += engine.step()[0]
            for child in decoded:
                if child.error is not None:
                    raise RuntimeError(child.error)
            return sorted(decoded, key=lambda child: child.path)

        def job() -> list[list[int]]:
            decoded: list[Decoded] = []
            last: list[Decoded] = []
            for depth, (branches, tokens) in enumerate(case.levels):
                if depth:
                    prompt = Prompt("", appended=True, max_tokens=tokens, ignore_end=True)
                    asked = [(child.path, prompt) for child in last]
                else:
                    prompt = Prompt("", max_tokens=tokens, ignore_end=True)
                    asked = [((), replace(prompt, token_ids=case.shared + own)) for own in case.own]
                last = level(asked, branches)
                decoded += last
            return [list(map(int, child.text.split())) for child in decoded]

        return job

    return ready


def shared_prefill_side(network: PreTrainedModel) -> Side:
    """transformers at its fairest: what is shared is prefilled once, its KV cache copied to every branch, one batch."""

    def ready(case: Case) -> Job:
        @torch.inference_mode()
        def job() -> list[list[int]]:
            cache: Any = DynamicCache(config=network.config)

            def forward(ids: torch.Tensor) -> torch.Tensor:
                # By position: the cache's name is `past_key_values` up to transformers 5.23, `cache` later.
                logits: torch.Tensor = network(ids, None, None, cache, logits_to_keep=1).logits
                return logits[:, -1]

            decoded: list[list[int]] = []
            taken: list[torch.Tensor] = []
            logits = forward(torch.tensor([case.shared]))
            if case.own[0]:
                cache.batch_repeat_interleave(len(case.own))
                logits = forward(torch.tensor(case.own))
            for depth, (branches, tokens) in enumerate(case.levels):
                if depth:
                    logits = forward(taken[-1][:, None])
                cache.batch_repeat_interleave(branches)
                taken = [_draw(logits.repeat_interleave(branches, dim=0), case.temperature)]
                while len(taken) < tokens:
                    taken.append(_draw(forward(taken[-1][:, None]), case.temperature))
                decoded += torch.stack(taken, dim=1).tolist()
            return decoded

        return job

    return ready


def _draw(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    if not temperature:
        return logits.argmax(dim=-1)
    return torch.multinomial(torch.softmax(logits.float() / temperature, dim=-1), 1)[:, 0]
