"""Defaults of a class as a configuration holds them: in the form in which a user may type them again."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from treereason.jsonable import jsonable
from treereason.text import shown

DEEPEST = 30
_ANY: TypeAdapter[Any] = TypeAdapter(Any)
_TEXTS = (bytes, date, time, timedelta, Decimal, Fraction, re.Pattern, UUID)


def plain(value: Any, depth: int = 0) -> Any:
    """`jsonable` of a value, where what pydantic reads back from text is that text; never raises."""
    if depth > DEEPEST:  # a list that holds itself
        return shown(value)
    if isinstance(value, _TEXTS):
        try:
            return _ANY.dump_python(value, mode="json", fallback=str)
        except ValueError:  # bytes that are no text
            return jsonable(value)
    if type(value) in (list, tuple):
        return [plain(item, depth + 1) for item in value]
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {key: plain(item, depth + 1) for key, item in value.items()}
    if type(value) in (set, frozenset):
        return sorted((plain(item, depth + 1) for item in value), key=json.dumps)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name, None), depth + 1) for field in fields}
    return jsonable(value)
