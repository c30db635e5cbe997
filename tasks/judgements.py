"""What a judge's text says: the last of some words in each of its lines."""

import re
from collections.abc import Mapping


def judged(text: str, values: Mapping[str, float]) -> list[float]:
    """The value of the last of the words in each line that has one, in order: of "sure? no, likely" that of "likely".

    values: by word, in small letters; a word within another one, as likely in unlikely, does not count.
    """
    words = re.compile(rf"\b(?:{'|'.join(map(re.escape, values))})\b")
    found = (words.findall(line) for line in text.lower().splitlines())
    return [values[said[-1]] for said in found if said]
