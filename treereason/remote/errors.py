"""What can go wrong with one request to a server."""

from __future__ import annotations


class RequestFailed(Exception):
    """No usable answer came back; the text says in one line why.

    status: of HTTP, or the one in the body of an answer by 200; None when none came, or what came could not be read.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Transient(RequestFailed):
    """A failure that may pass. retry_after_s: the pause that the server asked for, in seconds."""

    def __init__(self, message: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, status)
        self.retry_after_s = retry_after_s
