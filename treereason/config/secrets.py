"""Values that may be secrets: they are neither recorded nor repeated in messages."""

from __future__ import annotations

import os
import re

from treereason.core import UserError

LONGEST_NAME = 40
SHORTEST_KEY = 16

_KEY_PREFIX = re.compile(r"(sk|pk|rk|gsk|hf|xai|ghp|nvapi)_", re.IGNORECASE)


def is_variable(name: str) -> bool:
    """Whether this is, or may be, the name of an environment variable, and does not look like a key itself."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None and (name in os.environ or not _like_a_key(name))


def refuse_key(name: object) -> None:
    """Raises UserError for a value of model.api_key_env that is no name of an environment variable."""
    if name is not None and not (isinstance(name, str) and is_variable(name)):
        raise UserError(
            "model.api_key_env: this is no name of an environment variable, and may be a key, so it is not repeated "
            "here: put the key into a variable, and give the variable's name"
        )


def without_password(text: str) -> str:
    """The text with *** for what stands in front of the host in an address, and for its query."""
    return re.sub(r"(//[^\s?]*\?)\S+", r"\1***", re.sub(r"//[^/\s]*@", "//***@", text))


def repeatable(override: str) -> str:
    """An override as a message may repeat it: without its value where that may be a key."""
    option, equals, _ = override.partition("=")
    return f"{option}=***" if equals and "key" in option.lower() else without_password(override)


def _like_a_key(name: str) -> bool:
    """Whether no person would call a variable so: very long, or long with digits and not in the usual A_B form."""
    if len(name) > LONGEST_NAME:
        return True
    if len(name) < SHORTEST_KEY:
        return False
    usual = "_" in name and (name.isupper() or name.islower()) and _KEY_PREFIX.match(name) is None
    return _KEY_PREFIX.match(name) is not None or (not usual and any(letter.isdigit() for letter in name))
