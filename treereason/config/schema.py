"""The validated configuration of a run: what hydra composed, checked at the border."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from treereason.core import UserError
from treereason.text import LONGEST_VALUE, shorten, shown

KV_TOKENS_LIMIT = 2**28  # more than memories hold; the pool lists its pages, and plans number its slots in int32
THREADS_LIMIT = 1024  # OpenMP dies where the system refuses it a thread

Count = Annotated[int, Field(ge=1)]
Style = Literal["embedded", "chat", "plain"]


class _Strict(BaseModel):
    """Strict, so that `seed=true` or `seed=1.0` is refused rather than read as 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ModelConfig(_Strict):
    """The language model: `name` is "embedded" for the shipped one, else a folder or hub id."""

    name: Annotated[str, Field(min_length=1)]
    style: Style = "chat"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"


class RemoteModelConfig(_Strict):
    """A model on a server that speaks OpenAI's completions; what has a `url` is one of these."""

    name: Annotated[str, Field(min_length=1)]
    url: Annotated[str, Field(pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$")]  # no user:password@, which would be saved
    style: Style = "plain"
    api_key_env: Annotated[str, Field(min_length=1)] | None = "OPENAI_API_KEY"
    concurrency: Count = 8
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    max_retries: Annotated[int, Field(ge=0)] = 4

    @field_validator("style")
    @classmethod
    def _no_chat(cls, style: Style) -> Style:
        if style == "chat":
            raise UserError("model.style=chat: prompts go to the completions endpoint as plain text; use plain")
        return style


_LOCAL, _REMOTE = "a local model", "a remote model"


def _where(values: Any) -> str:
    remote = "url" in values if isinstance(values, Mapping) else isinstance(values, RemoteModelConfig)
    return _REMOTE if remote else _LOCAL


AnyModelConfig = Annotated[
    Annotated[ModelConfig, Tag(_LOCAL)] | Annotated[RemoteModelConfig, Tag(_REMOTE)], Discriminator(_where)
]


class EngineConfig(_Strict):
    """How much is done at once, and how. None of it changes results."""

    max_branches: Count = 256
    parallel_problems: Count = 64
    prefill_tokens: Count = 2048
    kv_tokens: Annotated[int, Field(ge=1, le=KV_TOKENS_LIMIT)] | None = None
    kv_gib: Annotated[float, Field(gt=0)] | None = None
    threads: Annotated[int, Field(ge=1, le=THREADS_LIMIT)] | None = None
    deterministic: bool = False
    profile: bool = False

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.kv_tokens is not None and self.kv_gib is not None:
            raise ValueError("give engine.kv_tokens or engine.kv_gib, not both")
        return self


class BudgetConfig(_Strict):
    """What one problem may spend; None is no limit."""

    tokens: Count | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None


class Config(_Strict):
    """One run. `task` and `search` hold the plugin's name and its parameters; `scorer` None means the task's own."""

    task: dict[str, Any]
    search: dict[str, Any]
    model: AnyModelConfig
    engine: EngineConfig = EngineConfig()
    budget: BudgetConfig = BudgetConfig()
    scorer: Annotated[str, Field(min_length=1)] | None = None
    temperature: Annotated[float, Field(ge=0)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    display: Literal["auto", "rich", "plain", "json", "none"] = "auto"
    baseline: Literal["greedy", "none"] = "greedy"
    scorer_timeout_s: Annotated[float, Field(gt=0)] = 10.0


def parse(values: Mapping[str, Any]) -> Config:
    """The configuration in plain values; a mistake becomes a UserError that names the option."""
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(explain(error)) from None


def explain(error: ValidationError, prefix: str = "") -> str:
    """All mistakes in one line, each with its option and value. A UserError raised inside passes unchanged."""
    lines = []
    for item in error.errors(include_url=False):
        inner = item.get("ctx", {}).get("error")
        if isinstance(inner, UserError):
            return str(inner)
        option = prefix + ".".join(str(part) for part in item["loc"] if part not in (_LOCAL, _REMOTE))
        reason = str(inner) if inner is not None else item["msg"].removeprefix("Input ")
        if item["type"] == "missing":
            lines.append(f"{option} is missing: give {option}=VALUE")
        elif item["type"] == "extra_forbidden":
            lines.append(f"no option is called {option}: `treereason --help` lists them")
        else:
            given = item["input"]
            value = shorten(given, LONGEST_VALUE) if isinstance(given, str) else shown(given)
            lines.append(f"{option}={value}: {reason}")
    return "; ".join(dict.fromkeys(lines))


def nearest(name: str, valid: Collection[str]) -> str:
    """What to say behind an unknown name: the closest valid one, or all of them."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"it may be {', '.join(valid)}" if valid else "there is none"
