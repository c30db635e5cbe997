"""Any value in a form that JSON can hold. Standard library only."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from fractions import Fraction
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any

MAX_DEPTH = 100
MAX_BITS = 10_000
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def jsonable(value: Any) -> Any:
    """`value` built of None, bool, int, finite float, str, list and dict with str keys; never raises.

    Integers of more than 10,000 bits become hexadecimal text, NaN and the infinities "nan", "inf" and "-inf".
    Tuples become lists, sets become lists ordered by their JSON text, dataclasses become objects. Anything
    else becomes its repr without memory addresses, so that two equal runs write equal bytes.
    """
    try:
        return _convert(value, ())
    except Exception:
        return _text(value)


def _convert(value: Any, containers: tuple[int, ...]) -> Any:
    kind = type(value)
    if (kind is int and value.bit_length() <= MAX_BITS) or (kind is float and math.isfinite(value)):
        return value  # as below, at a tenth of the time: most of a journal is such numbers
    if value is None or isinstance(value, (bool, str)):
        return value
    if kind in (list, tuple) and _holds_token_ids(value):
        return list(value)
    if isinstance(value, Enum):
        return _convert(value.value, containers)
    if isinstance(value, Integral):
        number = int(value)
        return number if number.bit_length() <= MAX_BITS else hex(number)
    if isinstance(value, Real) and not isinstance(value, Fraction):
        real = float(value)
        return real if math.isfinite(real) else str(real)
    if isinstance(value, PurePath):
        return str(value)
    if id(value) in containers or len(containers) >= MAX_DEPTH:
        return "..."
    inside = (*containers, id(value))
    if isinstance(value, Mapping):
        return {_key(key): _convert(item, inside) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_convert(item, inside) for item in value]
    if isinstance(value, AbstractSet):
        return sorted((_convert(item, inside) for item in value), key=lambda item: json.dumps(item))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _convert(getattr(value, f.name, None), inside) for f in dataclasses.fields(value)}
    return _text(value)


def _holds_token_ids(value: Sequence[Any]) -> bool:
    """Whether a sequence holds integers of 64 bits and nothing else; told at a tenth of the time of looking at each."""
    return {*map(type, value)} == {int} and min(value) >= -(2**63) and max(value) < 2**63


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        return _key(key.value)
    return key if isinstance(key, str) else _text(key)


def _text(value: Any) -> str:
    try:
        return _ADDRESS.sub("", repr(value))
    except Exception:
        return f"<{type(value).__name__}>"
