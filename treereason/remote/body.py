"""The body of a server's answer, of which no more is read than fits into a limit."""

from __future__ import annotations

import zlib

import httpx

from treereason.remote.errors import RequestFailed, Transient

MAX_BODY_BYTES = 2**24
MAX_ERROR_BYTES = 2**16
ACCEPTED = "identity"
"""Asked of servers as Accept-Encoding: a packed body may be a thousand times as large as what comes."""

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


async def read_body(response: httpx.Response) -> bytes:
    """The whole body, unpacked. Raises RequestFailed for one of more than MAX_BODY_BYTES, Transient for a broken one.

    Of the body of an error no more than MAX_ERROR_BYTES are read and returned, and none of one that cannot be unpacked.
    """
    limit = MAX_BODY_BYTES if response.is_success else MAX_ERROR_BYTES
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            break
    try:
        unpacked = _unpacked(bytes(body), response.headers.get("Content-Encoding", "").strip().lower(), limit)
    except RequestFailed:
        if response.is_success:
            raise
        return b""  # its status says enough
    if len(unpacked) <= limit:
        return unpacked
    if response.is_success:
        raise RequestFailed(f"the server's answer has more than {limit // 2**20} MiB")
    return unpacked[:limit]


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """At most one byte more than `limit`, which shows that there are too many."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise RequestFailed("the server's answer is packed, which it was not asked for")
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body, limit + 1)
    except zlib.error:
        raise Transient("the connection to the server broke: its answer cannot be unpacked") from None
