"""One event as a row of the journal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import cache
from math import isfinite
from typing import Any

from treereason.events import Event
from treereason.jsonable import jsonable

encode: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode


def row_of(event: Event) -> tuple[str, str]:
    """The event's kind, and its fields as a JSON object: equal for events that say the same."""
    fields, cls = {}, type(event)
    for name in _names(cls):  # type: ignore[arg-type]  # a class is hashable, whatever its objects are
        value = getattr(event, name)
        kind = type(value)
        plain = value is None or kind is str or kind is bool
        plain = plain or (kind is int and -(2**63) < value < 2**63) or (kind is float and isfinite(value))
        fields[name] = value if plain else jsonable(value)
    return event.kind, encode(fields)


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))
