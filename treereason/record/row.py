"""One event as a row of the journal."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from typing import Any

from pydantic_core import from_json, to_json

from treereason.events import Event
from treereason.jsonable import jsonable

PLAIN = {str, bool, type(None)}


def row_of(event: Event) -> tuple[str, str]:
    """The event's kind, and its fields as a JSON object: equal for events that say the same."""
    kind, names = _layout(type(event))  # type: ignore[arg-type]  # a class is hashable, whatever its objects are
    fields = {}
    for name, may_be_anything in names:
        value = getattr(event, name)
        fields[name] = jsonable(value) if may_be_anything and type(value) not in PLAIN else value
    return kind, encode(fields)


def encode(fields: dict[str, object]) -> str:
    """JSON text of fields. NaN and the infinities become text, which `float` reads."""
    try:
        return to_json(fields, inf_nan_mode="strings").decode()
    except ValueError:  # a lone surrogate, numbers of other libraries
        return json.dumps(jsonable(fields), separators=(",", ":"))


def decode(text: str) -> Any:
    """The value of a JSON text. Raises ValueError or RecursionError for what is none."""
    try:
        return from_json(text)
    except ValueError:  # a lone surrogate; or no JSON, of which the standard library tells more
        return json.loads(text)


@cache
def _layout(cls: Any) -> tuple[str, tuple[tuple[str, bool], ...]]:
    """The kind of a class of events; and its fields, each with whether it holds whatever a task puts there."""
    kind = cls.kind.fget(cls.__new__(cls))
    return kind, tuple((field.name, "Any" in str(field.type)) for field in dataclasses.fields(cls))
