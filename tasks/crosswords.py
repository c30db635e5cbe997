"""Mini crosswords of 5 by 5 letters (Yao et al. 2023, arXiv 2305.10601, section 4.3).

A thought is one word, `h1. grasp` for the first row or `v3. ample` for the third column. The file is the paper's JSON:
a list of [clues, letters], five clues for the rows, then five for the columns, and 25 letters row by row.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from treereason.core import Finish, Problem, Prompt, Score, Thought, UserError, oracle
from treereason.core.given_file import file_name, parse_json
from treereason.tasks.base import BaseTask
from treereason.tasks.few_shot import solution_text
from treereason.tasks.files import read_text
from treereason.tasks.prompt_files import builtin_templates
from treereason.text import one_line, shown

CONFIDENCES = ("certain", "high", "medium", "low")
VALUES = {"sure": 1.0, "maybe": 0.5, "impossible": 0.0}
LINES = {f"h{i + 1}": slice(5 * i, 5 * i + 5) for i in range(5)} | {f"v{i + 1}": slice(i, None, 5) for i in range(5)}
"""The places of each word among the 25 letters."""
EMPTY = "_" * 25
_WORD = re.compile(r"\b([hv][1-5])[.:] *([a-z]{5})\b(?: *\((\w+)\))?", re.IGNORECASE)
_JUDGEMENT = re.compile(rf"\b({'|'.join(VALUES)})\b", re.IGNORECASE)


@dataclass(frozen=True)
class Crosswords(BaseTask):
    """Solve 5 by 5 crosswords of a JSON file in tree of thoughts' format (task.path=FILE), one word a thought.

    A word that does not fit the letters on the board, or that adds none, ends the game; the answer is what stands then.
    """

    path: Annotated[str | None, Field(description="JSON file in tree of thoughts' format; must be given")] = None

    scorer = "letters_right"
    templates = builtin_templates("crosswords")

    def read(self, path: Path) -> Sequence[Problem]:
        try:
            games = parse_json(read_text(path), finite=True)
            if not isinstance(games, list):
                raise ValueError(f"not a list but {shown(games)}")
            return [_problem(i, game) for i, game in enumerate(games)]
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{file_name(path)}: not crosswords: {one_line(error)}") from None

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """The clues, then line after line; None behind an answer, or a text that the model ended."""
        if thought.depth == 0:
            return self._asked("solve", thought, style, 32)
        if thought.answer is not None or thought.finish in (Finish.END, Finish.LENGTH):
            return None
        return Prompt("\n" if thought.finish is Finish.GIVEN else "", appended=True, stop=("\n",), max_tokens=32)

    def propose_prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Asks for words that fit, each with a confidence; None behind an answer."""
        return None if thought.answer is not None else self._asked("propose", thought, style, 256)

    def proposals(self, thought: Thought, text: str) -> list[str]:
        """Words in the text that fit the board and add to it, each once, the most confident first."""
        letters, _ = board(thought)
        found: dict[str, int] = {}
        for line in text.splitlines():
            if (word := _WORD.search(line)) and _filled(letters, word):
                said = (word[3] or "").lower()
                confidence = CONFIDENCES.index(said) if said in CONFIDENCES else len(CONFIDENCES)
                name = f"{word[1]}. {word[2]}".lower()
                found[name] = min(confidence, found.get(name, confidence))
        return sorted(found, key=found.__getitem__)

    def judge_prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Asks of each clue without a whole word, or of all clues of a full board, whether some word fits."""
        return self._asked("value", thought, style, 512)

    def parse_value(self, text: str) -> float | None:
        """0 when some clue is "impossible", which the paper prunes, else the mean of 1 for "sure", 0.5 for "maybe"."""
        said = [each[-1].lower() for line in text.splitlines() if (each := _JUDGEMENT.findall(line))]
        values = [VALUES[word] for word in said]
        return min(values) and sum(values) / len(values) if values else None

    def _asked(self, name: str, thought: Thought, style: str, max_tokens: int) -> Prompt:
        letters, _ = board(thought)
        words = {line: letters[places] for line, places in LINES.items()}
        clues = dict(zip(words, thought.problem.input, strict=True))
        open_lines = [line for line in words if "_" in words[line] or "_" not in letters]
        values = {
            "clues": "\n".join(f"{line}. {clue}" for line, clue in clues.items()),
            "board": "\n".join(words[line] for line in words if line[0] == "h"),
            "open": "\n".join(f"{line}. {clues[line]}: {words[line]}" for line in open_lines),
        }
        return self.fill(style, name, values, max_tokens)

    def parse(self, thought: Thought) -> str | None:
        """The 25 letters, row by row with _ for none, once no word can follow: the board is full, or the game over."""
        letters, fits = board(thought)
        over = not fits or "_" not in letters or thought.finish is Finish.END
        return letters if over and thought.finish is not Finish.LENGTH else None


def board(thought: Thought) -> tuple[str, bool]:
    """The 25 letters, _ for none, after the words down to this thought; and whether all of these fitted."""
    letters = EMPTY
    for line in filter(str.strip, solution_text(thought).splitlines()):
        word = _WORD.search(line)
        if word is None or (filled := _filled(letters, word)) is None:
            return letters, False
        letters = filled
    return letters, True


def _filled(letters: str, word: re.Match[str]) -> str | None:
    """The letters with one word more; None where it does not fit, or adds none."""
    cells, places, written = list(letters), LINES[word[1].lower()], word[2].upper()
    fits = all(cell in ("_", letter) for cell, letter in zip(cells[places], written, strict=True))
    if not fits or "_" not in cells[places]:
        return None
    cells[places] = written
    return "".join(cells)


def _problem(number: int, game: Any) -> Problem:
    """Raises ValueError for what is no crossword."""
    if not isinstance(game, list) or len(game) != 2 or not all(isinstance(part, list) for part in game):
        raise ValueError(f"crossword {number}: not a pair of clues and letters: {shown(game)}")
    clues, letters = game
    if len(clues) != 10 or not all(isinstance(clue, str) and clue.strip() for clue in clues):
        raise ValueError(f"crossword {number}: not ten clues: {shown(clues)}")
    if len(letters) != 25 or not all(isinstance(each, str) and re.fullmatch("[A-Za-z]", each) for each in letters):
        raise ValueError(f"crossword {number}: not 25 letters from A to Z: {shown(letters)}")
    return Problem(str(number), [one_line(clue) for clue in clues], "".join(letters).upper())


def _share(right: Sequence[bool]) -> Score:
    return Score(sum(right) / len(right), final=all(right))


@oracle
def letters_right(thought: Thought) -> Score:
    """Share of the 25 letters that are right, r_letter in the paper."""
    letters, _ = board(thought)
    return _share([a == b for a, b in zip(letters, thought.problem.target, strict=True)])


@oracle
def words_right(thought: Thought) -> Score:
    """Share of the 10 words that are right, r_word in the paper."""
    letters, _ = board(thought)
    return _share([letters[places] == thought.problem.target[places] for places in LINES.values()])


@oracle
def game_solved(thought: Thought) -> Score:
    """1 for the right board, else 0: r_game in the paper."""
    return _share([board(thought)[0] == thought.problem.target])


SCORERS = {"letters_right": letters_right, "words_right": words_right, "game_solved": game_solved}
