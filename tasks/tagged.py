"""Texts between tags: numbered ones in a prompt, and what a model puts between tags."""

import re
from collections.abc import Iterable, Sequence


def numbered(texts: Iterable[str], tag: str) -> str:
    """Each text between tags with its number, from `<document 1>` on."""
    return "".join(f"<{tag} {i}>\n{text}\n</{tag} {i}>\n\n" for i, text in enumerate(texts, start=1))


def last_tagged(text: str, tag: str, *, cut: bool = False) -> str | None:
    """What stands in the last tags, to the end where those stay open, or all of a text without; None for nothing.

    Tags are in upper or lower case. cut: a limit ended the text, so only what stands between closed tags is whole.
    """
    tagged = re.findall(rf"<{tag}>(.*?)(</{tag}>|$)", text, re.DOTALL | re.IGNORECASE)
    inside, closed = tagged[-1] if tagged else (text, "")
    return None if cut and not closed else inside.strip() or None


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
