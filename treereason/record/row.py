"""One event as a row of the journal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

from treereason.events import Event
from treereason.jsonable import jsonable

encode: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode


def row_of(event: Event) -> tuple[str, str]:
    """The event's kind, and its fields as a JSON object: equal for events that say the same."""
    return event.kind, encode({f.name: jsonable(getattr(event, f.name)) for f in dataclasses.fields(event)})
