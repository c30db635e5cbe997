"""One event as a row of the journal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from treereason.events import Event
from treereason.jsonable import jsonable

encode: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode
_encode_finite: Callable[[object], str] = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
PLAIN = {str, bool, type(None)}


def row_of(event: Event) -> tuple[str, str]:
    """The event's kind, and its fields as a JSON object: equal for events that say the same."""
    kind, names = _layout(type(event))  # type: ignore[arg-type]  # a class is hashable, whatever its objects are
    fields = {}
    for name, may_be_anything in names:
        value = getattr(event, name)
        fields[name] = jsonable(value) if may_be_anything and type(value) not in PLAIN else value
    try:
        return kind, _encode_finite(fields)  # numbers, text and lists of them: what most events hold
    except (TypeError, ValueError, RecursionError):
        return kind, encode({name: jsonable(value) for name, value in fields.items()})


@cache
def _layout(cls: Any) -> tuple[str, tuple[tuple[str, bool], ...]]:
    """The kind of a class of events; and its fields, each with whether it holds whatever a task puts there."""
    kind = cls.kind.fget(cls.__new__(cls))
    return kind, tuple((field.name, "Any" in str(field.type)) for field in dataclasses.fields(cls))
