"""What `model=` takes: a model on this machine, or a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from treereason.config.secrets import refuse_key
from treereason.config.strict import Strict
from treereason.core import UserError
from treereason.core.prompt import Style
from treereason.text import from_home

REQUESTS_LIMIT = 1024  # each holds a socket, and systems give a process that many files
RETRIES_LIMIT = 100  # waiting doubles from one to the next
LONGEST_S = 30 * 24 * 3600.0  # timers of the system overflow somewhere beyond


class ModelConfig(Strict):
    """A language model that runs on this machine."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            description="folder, GGUF file or hub id of a causal language model; embedded, embedded_spans: the "
            "included ones; smollm2: the instruction model of its package",
        ),
    ]
    style: Annotated[
        Style,
        Field(
            description="chat: prompts go through the tokenizer's chat template; plain: as they are, for models "
            "without one; embedded, spans: in the terse formats of the included models"
        ),
    ] = "chat"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        Field(
            description="auto (as stored; of a GGUF file bfloat16 where the device is quick in it, else float32), "
            "float32, bfloat16 or float16"
        ),
    ] = "auto"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:NUMBER")] = (
        "auto"
    )

    fused: Annotated[
        bool,
        Field(
            description="true: norms, rotations and gates of known models run as one kernel each, on a GPU or compiled "
            "for the CPU; false: as in transformers"
        ),
    ] = True

    @field_validator("name")
    @classmethod
    def _home(cls, name: str) -> str:
        return from_home(name)


class RemoteModelConfig(Strict):
    """A model on a server that speaks OpenAI's completions; what has a `url` is one of these."""

    name: Annotated[str, Field(min_length=1, description="the model's name on the server")]
    url: Annotated[
        str,
        Field(
            pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$",  # no user:password@, which would be saved
            description="address of an OpenAI-compatible server; prompts go to URL/completions or URL/chat/completions",
        ),
    ]
    endpoint: Annotated[
        Literal["auto", "completions", "chat"],
        Field(
            description="completions: prompts are sent as text; chat: as messages, for the server's chat template; "
            "auto: chat where it answers and the model has a template, as far as the server tells"
        ),
    ] = "auto"
    style: Annotated[
        Style,
        Field(
            description="plain: prompts as they are; chat: for the chat endpoint; embedded, spans: in the terse "
            "formats of the included models; null: what fits the endpoint"
        ),
    ] = "chat"
    api_key_env: Annotated[
        str | None,
        Field(description="name of the environment variable that holds the key, if it is set; null: no key is sent"),
    ] = "OPENAI_API_KEY"
    concurrency: Annotated[
        int, Field(ge=1, le=REQUESTS_LIMIT, description="at most this many requests are in flight at once")
    ] = 8
    timeout_s: Annotated[
        float,
        Field(gt=0, le=LONGEST_S, description="a request that takes more seconds counts as failed, and is tried again"),
    ] = 120.0
    max_retries: Annotated[
        int,
        Field(
            ge=0,
            le=RETRIES_LIMIT,
            description="attempts after the first one, on 429, 5xx, broken connections and timeouts",
        ),
    ] = 4

    @field_validator("api_key_env", mode="before")
    @classmethod
    def _no_key(cls, name: Any) -> Any:
        refuse_key(name)
        return name

    @model_validator(mode="before")
    @classmethod
    def _style_and_endpoint(cls, values: Any) -> Any:
        """Each decides the other where that is left open; what both leave open is decided when the server is asked."""
        if not isinstance(values, Mapping):
            return values
        endpoint, style = values.get("endpoint", "auto"), values.get("style")
        if style is None:
            return {**values, "style": "plain" if endpoint == "completions" else "chat"}
        return {**values, "endpoint": "chat" if style == "chat" else "completions"} if endpoint == "auto" else values

    @model_validator(mode="after")
    def _chat_to_chat(self) -> Self:
        if self.style == "chat" and self.endpoint == "completions":
            raise UserError(
                "model.style=chat: prompts go to the completions endpoint as plain text; use plain, or "
                "model.endpoint=chat"
            )
        return self


LOCAL, REMOTE = "a local model", "a remote model"


def model_class(values: Mapping[str, Any]) -> type[ModelConfig] | type[RemoteModelConfig]:
    """The class that the options of a model are checked by."""
    return RemoteModelConfig if "url" in values else ModelConfig


def _where(values: Any) -> str:
    cls = model_class(values) if isinstance(values, Mapping) else type(values)
    return REMOTE if cls is RemoteModelConfig else LOCAL


AnyModelConfig = Annotated[
    Annotated[ModelConfig, Tag(LOCAL)] | Annotated[RemoteModelConfig, Tag(REMOTE)], Discriminator(_where)
]
