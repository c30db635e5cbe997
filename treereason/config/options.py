"""The options of a task, search or configuration: the fields of its class, with defaults and descriptions.

A field is written `k: Annotated[int, Field(ge=1, description="children of each kept thought")] = 5`. Its line in
`--help`, its default in the saved configuration, its check and its tab completion all come from there.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from treereason.core import UserError
from treereason.jsonable import jsonable
from treereason.text import describe

REQUIRED = "???"
"""Hydra's mark for an option without default."""


class Option(NamedTuple):
    """name: dotted inside nested models. default: a plain value, or REQUIRED."""

    name: str
    default: Any
    description: str


def options(cls: type) -> list[Option]:
    """The options of a dataclass or pydantic model in their order; none for another class. Raises UserError."""
    if issubclass(cls, BaseModel):
        return [option for name, field in cls.model_fields.items() for option in _model_options(name, field)]
    if not dataclasses.is_dataclass(cls):
        return []
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise UserError(f"the types of {cls.__name__} cannot be read: {describe(error)}") from error
    return [
        Option(field.name, _default(field), FieldInfo.from_annotation(hints[field.name]).description or "")
        for field in dataclasses.fields(cls)
        if field.init
    ]


def defaults(cls: type) -> dict[str, Any]:
    """Default by option, REQUIRED where a value must be given."""
    return {option.name: option.default for option in options(cls)}


def _model_options(name: str, field: FieldInfo) -> list[Option]:
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return [inner._replace(name=f"{name}.{inner.name}") for inner in options(field.annotation)]
    default = REQUIRED if field.is_required() else jsonable(field.get_default(call_default_factory=True))
    return [Option(name, default, field.description or "")]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return jsonable(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return jsonable(field.default_factory())
    return REQUIRED
