"""What a scorer returned, as a score or an error; and which of four kinds a scorer is."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from contextlib import suppress
from numbers import Real
from typing import Any, Literal

from treereason.core import Score
from treereason.text import LONGEST_LINE, shown

Kind = Literal["plain", "batch", "async", "async batch"]


def kind_of(scorer: Any) -> Kind:
    """async: a coroutine function; batch: its first parameter is called `thoughts`; both, or else plain."""
    function = scorer if inspect.isroutine(scorer) or inspect.isclass(scorer) else getattr(scorer, "__call__", scorer)  # noqa: B004
    if inspect.isclass(function):
        function = function.__call__
    awaited = inspect.iscoroutinefunction(function)
    try:
        names = [name for name in inspect.signature(function).parameters if name != "self"]
    except (TypeError, ValueError):  # written in C, without known parameters
        return "plain"
    if names[:1] == ["thoughts"]:
        return "async batch" if awaited else "batch"
    return "async" if awaited else "plain"


def read_verdict(returned: Any) -> Score | str:
    """The score that a scorer returned, or the error that it is not a finite number."""
    score = returned if isinstance(returned, Score) else Score(returned)
    number: Any = score.value
    if hasattr(number, "item"):  # tensors and arrays of one number
        with suppress(Exception):
            number = number.item()
    try:
        value = float(number) if isinstance(number, Real) else math.nan
    except OverflowError:
        value = math.inf
    if math.isfinite(value):
        return Score(value, bool(score.final))
    return f"scorer returned {shown(returned, LONGEST_LINE)}, not a finite number"


def read_batch(returned: Any, count: int) -> list[Score | str]:
    """The verdicts of a batch of `count` thoughts. Raises ValueError for another number of them."""
    if isinstance(returned, str) or not isinstance(returned, Sequence):
        returned = list(returned)
    if len(returned) != count:
        raise ValueError(f"the scorer returned {len(returned)} scores for {count} thoughts")
    return [read_verdict(each) for each in returned]
