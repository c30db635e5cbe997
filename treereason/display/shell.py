"""Words of a command as they can be copied from a terminal into a shell."""

from __future__ import annotations

import shlex

from treereason.text import printable


def shell_word(word: str) -> str:
    """The word, quoted where a shell wants it.

    What a terminal would not show as it is, such as two spaces in a row, a control character or an accent apart from
    its letter, is written as an escape in $'...', which bash, zsh and ksh read.
    """
    if printable(word, len(word) + 1) == word:
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(character: str) -> str:
    if character.isascii() and character.isprintable() and character not in " '\\":
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
