"""The HTTP client as the environment sets it up, and which variable is at fault when it cannot be made."""

from __future__ import annotations

import os
import re
import ssl
import stat
from collections.abc import Iterator
from http.cookiejar import CookieJar
from typing import Any

import httpx

from treereason.core import UserError
from treereason.text import one_line

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
CERTIFICATES = ("ssl_cert_file", "ssl_cert_dir", "sslkeylogfile")
FILES = ("ssl_cert_file", "sslkeylogfile")
"""Are opened as they are, and who opens a pipe waits for its other end."""


class _NoCookies(CookieJar):
    """Keeps nothing: an answer may depend on its request only, and a server could send cookies without end."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Take none."""


def make_client(**options: Any) -> httpx.AsyncClient:
    """The client. Raises UserError, in one line that names the variable, for an environment that it cannot work in."""
    for name in _set(FILES):
        if not _opens_at_once(os.environ[name]):
            raise UserError(
                f"{name} in the environment cannot be used: it is a pipe or a socket; change it or unset it"
            )
    try:
        return httpx.AsyncClient(cookies=_NoCookies(), **options)
    except Exception as error:  # httpx has a different one for each variable, ImportError among them
        name, cause = _culprit(error)
        raise UserError(f"{name} in the environment cannot be used: {_reason(cause)}; change it or unset it") from None


def names_set(url: str) -> list[str]:
    """The variables of the environment by which a connection to `url` is made otherwise than directly."""
    return [*_set(PROXIES), *(_set(CERTIFICATES[:2]) if url.startswith("https:") else ())]


def _culprit(error: Exception) -> tuple[str, Exception]:
    """The variable at fault, and what is wrong with it; found by using each of them alone."""
    try:
        ssl.create_default_context()
        httpx.create_ssl_context()
    except Exception as cause:
        for name in _set(("sslkeylogfile",)):
            if _fails(ssl.create_default_context):
                return name, cause
        return next(_set(CERTIFICATES), "SSL_CERT_FILE"), cause
    for name in _set(PROXIES):
        url = os.environ[name]
        try:
            httpx.AsyncHTTPTransport(proxy=httpx.Proxy(url if "://" in url else f"http://{url}"), verify=False)
        except httpx.InvalidURL as cause:
            # The error would repeat a part of the password.
            unread = ValueError("no address of a proxy; a password has %2F for /, %40 for @ and %3A for :")
            return name, unread if "@" in url else cause
        except Exception as cause:
            return name, cause
    return next(_set(("no_proxy",)), "the set-up of proxies"), error


def _set(names: tuple[str, ...]) -> Iterator[str]:
    """Those of the names that have a value, in this order, as they are spelled there."""
    return (there for name in names for there in (name, name.upper()) if os.environ.get(there))


def _opens_at_once(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - pathlib raises other errors for odd names
    except (OSError, ValueError):
        return True  # what cannot be looked at is named when it is opened
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def _fails(function: Any) -> bool:
    try:
        function()
    except Exception:
        return True
    return False


def _reason(cause: Exception) -> str:
    if isinstance(cause, ImportError):
        return "a SOCKS proxy needs the package socksio: pip install 'httpx[socks]'"
    return re.sub(r"//[^/@\s]*@", "//***@", one_line(cause, 120))
