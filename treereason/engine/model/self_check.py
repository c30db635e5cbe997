"""The last check of a loaded model: a forked tree of tokens against transformers' own attention."""

from __future__ import annotations

from typing import Any

import torch

from treereason.core import UserError
from treereason.engine.attention.eager_step import eager_step
from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import RUN, Forest
from treereason.engine.kv.pages import PagePool
from treereason.engine.model.language_model import LanguageModel

TOLERANCE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest allowed difference of logits, as a share of the largest logit."""


def self_check(name: str, model: LanguageModel) -> None:
    """Run a forked tree of 30 tokens against `eager` runs of its branches. Raises UserError when logits differ."""
    forest, cache = Forest(PagePool(4), page_size=16), KVCache(4, page_size=16)
    tokens = [(7 + 13 * i) % model.vocabulary_size for i in range(30)]
    root = forest.attach(tokens[:14], RUN)
    forest.compute(root, 14)
    where: Any = {"attention": model.attention, "device": model.device}
    model.forward(eager_step(forest, {root: 14}, cache, **where), [])
    branches = [forest.fork(root, RUN) for _ in range(2)]
    for branch, text in zip(branches, (tokens[14:20], tokens[20:]), strict=True):
        branch.tokens = text
        forest.compute(branch, len(text))
    step = eager_step(forest, {branch: len(branch.tokens) for branch in branches}, cache, **where)
    logits = model.forward(step, [step.rows[branch][-1] for branch in branches])
    want = torch.stack([model.eager_logits(root.tokens + branch.tokens) for branch in branches])
    error = ((logits - want).abs().max() / want.abs().max()).item()
    tolerance = TOLERANCE[str(logits.dtype).removeprefix("torch.")]
    if not error <= tolerance:
        raise UserError(
            f"model.name={name}: its logits on a token tree differ from its own by {error:.1e} of their size "
            f"(allowed {tolerance:.0e}): its attention has something that the tree's lacks"
        )
