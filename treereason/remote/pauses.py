"""How long to wait before a request is sent again."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tenacity import RetryCallState, wait_exponential, wait_random

from treereason.remote.errors import Transient

MAX_PAUSE_S = 60.0
MAX_ASKED_S = 7 * 86400.0
"""A server that asks for more is not believed."""

_backoff = wait_exponential(multiplier=0.5, max=MAX_PAUSE_S) + wait_random(0, 0.5)


def pause_s(state: RetryCallState) -> float:
    """What the server asked for, at most MAX_PAUSE_S, or else a pause that grows."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Transient) and error.retry_after_s is not None:
        return min(error.retry_after_s, MAX_PAUSE_S)
    return _backoff(state)


def retry_after_s(header: str) -> float | None:
    """Seconds in a Retry-After header, which holds a number of them, also a fraction, or a date.

    None for what is neither, or absurd.
    """
    header = header.strip()
    try:
        if re.fullmatch(r"[0-9]+\.?[0-9]*", header):
            seconds = float(header)
        else:
            until = parsedate_to_datetime(header)
            seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):  # parsedate_to_datetime has raised each of them
        return None
    return max(0.0, seconds) if math.isfinite(seconds) and seconds <= MAX_ASKED_S else None
