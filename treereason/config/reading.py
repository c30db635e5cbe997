"""What pydantic reads as something else: true as 1, 2024 as a second of 1970, an unknown key as nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time
from typing import Any

from treereason.core import UserError
from treereason.text import nearest, shown


def check_reading(option: str, given: Any, read: Any) -> None:
    """Compare a plain value that was given for an option with what was read. Raises UserError.

    given: of scalars, lists and dicts. read: of the option's type.
    """
    if isinstance(given, bool) and not isinstance(read, bool):
        raise UserError(f"{option}={str(given).lower()}: should not be true or false")
    if isinstance(read, date | time) and _is_number(given):
        raise UserError(f"{option}={shown(given)}: write a day as 2024-01-31, a time as 12:30")
    if isinstance(given, Mapping):
        _check_mapping(option, given, read)
    elif isinstance(given, list) and isinstance(read, AbstractSet):
        if any(isinstance(item, bool) for item in given) and not any(isinstance(item, bool) for item in read):
            raise UserError(f"{option}={shown(given)}: should not hold true or false")
    elif isinstance(given, list) and isinstance(read, Sequence):
        for number, (one, other) in enumerate(zip(given, read, strict=False)):
            check_reading(f"{option}.{number}", one, other)


def _check_mapping(option: str, given: Mapping[Any, Any], read: Any) -> None:
    if isinstance(read, Mapping):
        for (key, one), other in zip(given.items(), read.values(), strict=False):
            check_reading(f"{option}.{key}", one, other)
    elif dataclasses.is_dataclass(read):
        names = [field.name for field in dataclasses.fields(read) if field.init]
        for key, one in given.items():
            if key not in names:
                raise UserError(f"{option}.{key}: {type(read).__name__} has no such field; {nearest(str(key), names)}")
            check_reading(f"{option}.{key}", one, getattr(read, key))


def _is_number(given: Any) -> bool:
    try:
        float(given)
    except (TypeError, ValueError):
        return False
    return True
