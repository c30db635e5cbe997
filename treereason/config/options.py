"""The options of a task, search or configuration: the fields of its class, with defaults and descriptions.

A field is written `k: Annotated[int, Field(ge=1, description="children of each kept thought")] = 5`. Its line in
`--help`, its default in the saved configuration, its check and its tab completion all come from there.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from treereason.config.plain import plain
from treereason.core import UserError
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
    hints = type_hints(cls)
    return [
        Option(field.name, _default(field), FieldInfo.from_annotation(hints[field.name]).description or "")
        for field in _fields(cls)
    ]


def type_hints(cls: type) -> dict[str, Any]:
    """Type by option of a dataclass, with its constraints; none for another class. Raises UserError."""
    if not dataclasses.is_dataclass(cls):
        return {}
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise UserError(f"the types of {cls.__name__} cannot be read: {describe(error)}") from error
    return {field.name: hints[field.name] for field in _fields(cls)}


def defaults(cls: type) -> dict[str, Any]:
    """Default by option, REQUIRED where a value must be given."""
    return {option.name: option.default for option in options(cls)}


def _fields(cls: type) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(cls) if field.init] if dataclasses.is_dataclass(cls) else []


def _model_options(name: str, field: FieldInfo) -> list[Option]:
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return [inner._replace(name=f"{name}.{inner.name}") for inner in options(field.annotation)]
    default = REQUIRED if field.is_required() else plain(field.get_default(call_default_factory=True))
    return [Option(name, default, field.description or "")]


def _default(field: dataclasses.Field[Any]) -> Any:
    default = field.default
    if isinstance(default, FieldInfo):
        raise UserError(f"{field.name}: write {field.name}: Annotated[TYPE, Field(...)] = DEFAULT, not = Field(...)")
    if field.default_factory is not dataclasses.MISSING:
        try:
            default = field.default_factory()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise UserError(f"the default of {field.name} cannot be made: {describe(error)}") from error
    if default is dataclasses.MISSING:
        return REQUIRED
    if default == REQUIRED:
        raise UserError(f"{field.name}: the default {REQUIRED!r} means that a value must be given: take another")
    return plain(default)
