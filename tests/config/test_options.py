"""Options are the fields of a class: names, defaults and meanings."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

import pytest
from pydantic import BaseModel, Field

from treereason.config.models import ModelConfig, RemoteModelConfig
from treereason.config.options import REQUIRED, Option, defaults, options
from treereason.config.registry import KINDS, Kind, builtin
from treereason.config.schema import Config
from treereason.core import UserError


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Example:
    must: int
    width: Annotated[int, Field(ge=1, description="columns")] = 3
    colour: Colour = Colour.RED
    stops: list[str] = field(default_factory=lambda: ["a"])
    hidden: int = field(default=1, init=False)
    shared: ClassVar[int] = 1


def test_the_fields_of_a_dataclass() -> None:
    assert options(Example) == [
        Option("must", REQUIRED, ""),
        Option("width", 3, "columns"),
        Option("colour", "red", ""),
        Option("stops", ["a"], ""),
    ]
    assert defaults(Example) == {"must": "???", "width": 3, "colour": "red", "stops": ["a"]}


def test_the_fields_of_a_model_and_of_those_inside_it() -> None:
    class Inner(BaseModel):
        size: Annotated[int | None, Field(description="bytes")] = None

    class Outer(BaseModel):
        name: str
        inner: Inner = Inner()

    assert options(Outer) == [Option("name", REQUIRED, ""), Option("inner.size", None, "bytes")]


def test_a_class_without_fields_has_no_options() -> None:
    assert options(object) == []


def test_types_that_cannot_be_read_are_a_mistake_of_the_user() -> None:
    namespace: dict[str, type] = {}
    exec("from dataclasses import dataclass\n@dataclass\nclass Bad:\n    width: 'Missing' = 3", namespace)
    with pytest.raises(UserError, match="types of Bad cannot be read: NameError: name 'Missing' is not defined"):
        options(namespace["Bad"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_a_built_in_task_or_search_says_what_it_means(kind: Kind) -> None:
    listed = [option for cls in builtin(kind).values() for option in options(cls)]
    assert listed
    assert [option.name for option in listed if not option.description] == []


@pytest.mark.parametrize("model", [Config, ModelConfig, RemoteModelConfig])
def test_every_option_of_the_configuration_says_what_it_means(model: type[BaseModel]) -> None:
    silent = [option.name for option in options(model) if not option.description]
    assert set(silent) <= {"task", "search", "model"}
