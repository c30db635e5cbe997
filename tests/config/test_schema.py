"""The checked configuration: what is refused, and that every model file sets what its class knows."""

from __future__ import annotations

from importlib import resources
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

from treereason.config.models import RemoteModelConfig, model_class
from treereason.config.schema import parse
from treereason.core import UserError

MODELS = resources.files("treereason.conf") / "model"


def config(**changes: Any) -> dict[str, Any]:
    return {"task": {"name": "sorting"}, "search": {"name": "best_of_n"}, "model": {"name": "embedded"}, **changes}


@pytest.mark.parametrize("choice", ["embedded", "embedded_spans", "gguf", "openai", "smollm2", "transformers"])
def test_every_model_file_sets_every_field(choice: str) -> None:
    text = (MODELS / f"{choice}.yaml").read_text(encoding="utf-8")
    values = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(text)))
    model = parse(config(model={**values, "name": "somewhere"})).model
    assert type(model) is model_class(values)
    assert set(values) == set(type(model).model_fields)
    assert model.name == "somewhere"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temperature": -0.1}, "temperature=-0.1: should be greater than or equal to 0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": True}, "seed=True"),
        ({"seed": "zero"}, "seed=zero"),
        ({"display": "fancy"}, "display=fancy: should be 'auto'"),
        ({"baseline": "beam"}, "baseline=beam"),
        ({"scorer_timeout_s": 0.0}, "scorer_timeout_s=0.0"),
        ({"scorer": ""}, "scorer="),
        ({"engine": {"max_branches": 0}}, "engine.max_branches=0"),
        ({"engine": {"kv_tokens": 0}}, "engine.kv_tokens=0"),
        ({"engine": {"kv_tokens": 10**11}}, "engine.kv_tokens=100000000000: should be less than or equal to 268435456"),
        ({"engine": {"threads": 999_999}}, "engine.threads=999999: should be less than or equal to 1024"),
        ({"engine": {"branches": 1}}, "no option is called engine.branches"),
        ({"model": {"name": "x", "device": "tpu"}}, "model.device=tpu"),
        ({"model": {"name": "x", "dtype": "int8"}}, "model.dtype=int8"),
        ({"model": {}}, "model.name is missing"),
        ({"model": {"name": "x", "url": "localhost:8000"}}, "model.url=localhost:8000"),
        ({"model": {"name": "x", "url": "http://me:secret@host/v1"}}, "model.url="),
        (
            {"model": {"name": "x", "url": "http://host/v1", "endpoint": "completions", "style": "chat"}},
            "model.style=chat: prompts go to",
        ),
        ({"model": {"name": "x", "url": "http://host/v1", "endpoint": "talk"}}, "model.endpoint=talk"),
        ({"model": {"name": "x", "url": "http://host/v1", "dtype": "auto"}}, "no option is called model.dtype"),
        ({"model": {"url": "http://host/v1"}}, "model.name is missing"),
        ({"task": "sorting"}, "task=sorting"),
        ({"speed": 1}, "no option is called speed"),
    ],
)
def test_mistakes_are_named_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(config(**changes))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "endpoint", "style"),
    [
        ({}, "auto", "chat"),
        ({"style": None}, "auto", "chat"),
        ({"endpoint": "completions"}, "completions", "plain"),
        ({"endpoint": "chat"}, "chat", "chat"),
        ({"endpoint": "chat", "style": None}, "chat", "chat"),
        ({"endpoint": "chat", "style": "plain"}, "chat", "plain"),
        ({"style": "embedded"}, "completions", "embedded"),
        ({"style": "plain"}, "completions", "plain"),
        ({"style": "chat"}, "chat", "chat"),
    ],
)
def test_a_servers_endpoint_and_the_style_of_its_prompts_follow_each_other(
    options: dict[str, Any], endpoint: str, style: str
) -> None:
    model = parse({"task": {}, "search": {}, "model": {"name": "x", "url": "http://host/v1", **options}}).model
    assert isinstance(model, RemoteModelConfig)
    assert (model.endpoint, model.style) == (endpoint, style)
