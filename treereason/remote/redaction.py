"""A key, taken out of all text that comes back from the server that it was sent to."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST_IN_TEXT = 8
"""A model's own text keeps a shorter key: local servers are given words like "none" or "EMPTY" as keys."""


class Redaction:
    """Replaces a key: as it is, percent-encoded, escaped for JSON, Python or HTML, in base64 or hexadecimal."""

    def __init__(self, key: str) -> None:
        self._key = key
        spellings = sorted(set(_spellings(key)), key=len, reverse=True) if key else []
        self._pattern = re.compile("|".join(map(re.escape, spellings)), re.IGNORECASE) if spellings else None

    def of_message(self, text: str) -> str:
        """The server's words about a request, without the key."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def of_text(self, text: str) -> str:
        """What a model wrote, without the key."""
        return text if len(self._key) < SHORTEST_IN_TEXT else self.of_message(text)


def _spellings(key: str) -> Iterator[str]:
    raw = key.encode()
    yield from (key, quote(key, safe=""), quote(key), quote_plus(key))
    yield "".join(f"%{byte:02x}" for byte in raw)
    yield key.replace("\\", "\\\\").replace('"', '\\"')
    yield key.replace("/", "\\/")
    yield key.replace("\\", "\\\\").replace("'", "\\'")
    yield key.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    if len(key) >= SHORTEST_IN_TEXT:
        yield raw.hex()
        for num_before in range(3):  # in "Bearer KEY" or "user:KEY" it begins anywhere in a group of three bytes
            for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
                whole = alphabet(b"\0" * num_before + raw).decode()
                first, last = -(-num_before * 4 // 3), (num_before + len(raw)) * 4 // 3
                yield whole[first:last]
