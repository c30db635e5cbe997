"""What tests of the engine share: a small engine, and all that it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedModel

from treereason.core import Decoded, Prompt, Request, Sampling, ThoughtPath
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel

Build = Callable[[str], tuple[LanguageModel, PreTrainedModel]]
Found = dict[tuple[str, ThoughtPath], Decoded]
HOT = Sampling(temperature=1.0)
ARCHITECTURES = [
    "llama", "qwen2", "qwen3", "mistral", "mixtral", "gemma2", "gemma3", "phi3", "olmo2", "granite", "gpt_oss",
]  # fmt: skip


def make_engine(model: LanguageModel, **options: Any) -> Engine:
    return Engine(model, **{"seed": 0, "max_branches": 64, "prefill_tokens": 64, "kv_tokens": 1024, **options})


def finish(engine: Engine) -> Found:
    """Steps until nothing is left to do; checks the pool after each step."""
    found: Found = {}
    while engine.busy:
        done, _ = engine.step()
        engine.forest.check()
        found |= {(child.problem, child.path): child for child in done}
    return found


def answer(engine: Engine, *requests: Request) -> Found:
    """What comes back for requests that are submitted together."""
    for request in requests:
        engine.submit(request)
    return finish(engine)


def prompt_of(text: str, max_tokens: int = 8, **options: Any) -> Prompt:
    """Decoded to its limit, whatever the model draws."""
    return Prompt(text, max_tokens=max_tokens, ignore_end=True, **options)
