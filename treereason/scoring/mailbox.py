"""What another process has sent over a connection of multiprocessing, read without waiting for what is still to come.

`Connection.recv` waits until a message is whole. A scorer that writes into the socket itself announces messages that
never come.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

LONGEST_BYTES = 2**24  # an answer is a number, or the text of an error
_LENGTH = struct.Struct("!i")


class Mailbox:
    """Takes the messages that have come as a whole."""

    def __init__(self, connection: Connection) -> None:
        self._socket = socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)
        self._data = bytearray()

    def take(self) -> Iterator[Any]:
        """Messages that are whole by now, in order. Raises EOFError at the end of the connection, OSError for one that
        is broken, and ValueError for what is no message, once those before it are handed out.
        """
        data = self._socket.recv(65_536, socket.MSG_DONTWAIT)
        if not data:
            raise EOFError
        self._data += data
        while len(self._data) >= _LENGTH.size:
            [length] = _LENGTH.unpack_from(self._data)
            if not 0 <= length <= LONGEST_BYTES:
                raise ValueError(f"a message of {length} bytes")
            end = _LENGTH.size + length
            if len(self._data) < end:
                break
            try:
                message = pickle.loads(bytes(self._data[_LENGTH.size : end]))
            except Exception as error:
                raise ValueError("a message that cannot be read") from error
            del self._data[:end]
            yield message

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
