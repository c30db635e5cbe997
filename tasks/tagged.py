"""Texts between tags: numbered ones in a prompt, and what a model puts between tags."""

import re
from collections.abc import Iterable, Sequence

_WRONG_END = r"(?:</[a-z]+(?: [0-9]+)?>\s*)?"
_OPENER = re.compile(r"\A\s*(?:sure|certainly|of course|okay|here)\b[^\n]*:[ \t*]*\n", re.IGNORECASE)
_CODE_BLOCK = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)


def numbered(texts: Iterable[str], tag: str) -> str:
    """Each text between tags with its number, from `<document 1>` on."""
    return "".join(f"<{tag} {i}>\n{text}\n</{tag} {i}>\n\n" for i, text in enumerate(texts, start=1))


def last_tagged(text: str, tag: str, *, cut: bool = False) -> str | None:
    """What stands in the last tags, to the end where those stay open, or all of a text without; None for nothing.

    Tags are in upper or lower case. A closing tag of another name at the very end, a line such as "Sure! Here it is:"
    in front of a text without tags, and the marks of a code block around all of it are no part of it.
    cut: a limit ended the text, so only what stands between closed tags is whole.
    """
    tagged = re.findall(rf"<{tag}>(.*?)(</{tag}>|{_WRONG_END}$)", text, re.DOTALL | re.IGNORECASE)
    inside, end = tagged[-1] if tagged else (_OPENER.sub("", text, count=1), "")
    if cut and end.casefold() != f"</{tag}>".casefold():
        return None
    inside = inside.strip()
    if block := _CODE_BLOCK.fullmatch(inside):
        inside = block[1].strip()
    return inside or None


def grades(text: str, tags: Sequence[str], best: int) -> list[float] | None:
    """The last grade from 0 to `best` between each of the tags, such as 8, 7.5 or 8/10; None if one is missing."""
    found = []
    for tag in tags:
        pattern = rf"<{tag}>\s*([0-9]+(?:\.[0-9]+)?)\s*(?:(?:/|out of)\s*{best}\s*)?</{tag}>"
        numbers = re.findall(pattern, text, re.IGNORECASE)
        if not numbers or float(numbers[-1]) > best:
            return None
        found.append(float(numbers[-1]))
    return found
