"""The board of a 5 by 5 crossword: 25 letters row by row, _ where none stands, and words such as `h1. heart`."""

import re
from typing import Any

from treereason.text import one_line, shown

SIZE = 5
EMPTY = "_" * SIZE**2
LINES = {f"h{i + 1}": slice(SIZE * i, SIZE * (i + 1)) for i in range(SIZE)} | {
    f"v{i + 1}": slice(i, None, SIZE) for i in range(SIZE)
}
"""The places of each row and column among the letters, in the order of the clues."""
CONFIDENCES = ("certain", "high", "medium", "low", "")
_WORD = re.compile(r"\b([hv][1-5])[.:] *([a-z]{5})\b(?: *\(([a-z]+)\))?", re.IGNORECASE)


def filled(letters: str, line: str, word: str) -> str | None:
    """The letters with a word of five more; None where it does not fit those that stand, or adds none."""
    cells, places = list(letters), LINES[line]
    fits = all(cell in ("_", letter) for cell, letter in zip(cells[places], word.upper(), strict=True))
    if not fits or "_" not in cells[places]:
        return None
    cells[places] = word.upper()
    return "".join(cells)


def played(text: str) -> tuple[str, bool]:
    """The letters after the words of a text, one a line, up to the first that is none or does not fit.

    The second value says whether all of them fitted.
    """
    letters = EMPTY
    for line in filter(str.strip, text.splitlines()):
        word = _WORD.search(line)
        after = word and filled(letters, word[1].lower(), word[2])
        if after is None:
            return letters, False
        letters = after
    return letters, True


def proposed(letters: str, text: str) -> list[str]:
    """The words in a text that fit the letters, as `h1. heart`, each once: the most confident first, then in order."""
    found: dict[str, int] = {}
    for line, word, said in _WORD.findall(text.lower()):
        if filled(letters, line, word) is not None:
            confidence = CONFIDENCES.index(said if said in CONFIDENCES else "")
            name = f"{line}. {word}"
            found[name] = min(confidence, found.get(name, confidence))
    return sorted(found, key=found.__getitem__)


def clues_and_letters(number: int, game: Any) -> tuple[list[str], str]:
    """The ten clues and the 25 letters of a game in a file. Raises ValueError, naming its number, for anything else."""
    if not isinstance(game, list) or len(game) != 2 or not all(isinstance(part, list) for part in game):
        raise ValueError(f"crossword {number}: not a pair of clues and letters: {shown(game)}")
    clues, letters = game
    if len(clues) != len(LINES) or not all(isinstance(clue, str) and clue.strip() for clue in clues):
        raise ValueError(f"crossword {number}: not ten clues: {shown(clues)}")
    if len(letters) != len(EMPTY) or not all(isinstance(x, str) and re.fullmatch("[A-Za-z]", x) for x in letters):
        raise ValueError(f"crossword {number}: not 25 letters from A to Z: {shown(letters)}")
    return [one_line(clue) for clue in clues], "".join(letters).upper()
