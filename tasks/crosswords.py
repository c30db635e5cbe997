"""Mini crosswords of 5 by 5 letters (Yao et al. 2023, arXiv 2305.10601, section 4.3).

A thought is one word, `h1. grasp` for the first row or `v3. ample` for the third column. The file is the paper's JSON:
a list of [clues, letters], five clues for the rows, then five for the columns, and 25 letters row by row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from treereason.core import Finish, Problem, Prompt, Score, Thought, oracle
from treereason.tasks import crossword_board
from treereason.tasks.base import BaseTask
from treereason.tasks.files import json_array, reading
from treereason.tasks.judgements import judged
from treereason.tasks.prompt_files import builtin_templates
from treereason.tasks.steps import solution_text, tokens_left

VALUES = {"sure": 1.0, "maybe": 0.5, "impossible": 0.0}
NO_WORD = "none"
_LINE_TOKENS = 32


@dataclass(frozen=True)
class Crosswords(BaseTask):
    """Solve 5 by 5 crosswords of a JSON file in tree of thoughts' format (task.path=FILE), one word a thought.

    A word that does not fit the letters on the board, or that adds none, ends the game; the answer is what stands then.
    """

    path: Annotated[str | None, Field(description="JSON file in tree of thoughts' format; must be given")] = None

    scorer = "letters_right"
    templates = builtin_templates("crosswords")

    def read(self, path: Path) -> Sequence[Problem]:
        with reading(path, "crosswords"):
            games = enumerate(json_array(path))
            return [Problem(str(i), *crossword_board.clues_and_letters(i, game)) for i, game in games]

    def prompt(self, thought: Thought, style: str) -> Prompt | None:
        """The clues, then line after line; None behind an answer, or a text that the model ended."""
        if thought.depth == 0:
            return self._asked("solve", thought, style, _LINE_TOKENS)
        if thought.answer is not None or thought.finish in (Finish.END, Finish.LENGTH):
            return None
        if tokens_left(thought, _LINE_TOKENS * (len(crossword_board.LINES) + 1)) <= 0:  # of blank lines
            return None
        behind = "\n" if thought.finish is Finish.GIVEN else ""
        return Prompt(behind, appended=True, stop=("\n",), max_tokens=_LINE_TOKENS)

    def propose_prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Asks for words that fit, each with a confidence; None behind an answer."""
        return None if thought.answer is not None else self._asked("propose", thought, style, 256)

    def proposals(self, thought: Thought, text: str) -> list[str]:
        """Words in the text that fit the board and add to it, each once, the most confident first.

        Without any, a line that is no word: it ends the game, as the paper's search ends where nothing is proposed.
        """
        return crossword_board.proposed(_board(thought)[0], text) or [NO_WORD]

    def judge_prompt(self, thought: Thought, style: str) -> Prompt | None:
        """Asks of each clue without a whole word, or of all clues of a full board, whether some word fits."""
        return self._asked("value", thought, style, 512)

    def parse_value(self, text: str) -> float | None:
        """0 when some clue is "impossible", which the paper prunes, else the mean of 1 for "sure", 0.5 for "maybe"."""
        values = judged(text, VALUES)
        return min(values) and sum(values) / len(values) if values else None

    def _asked(self, name: str, thought: Thought, style: str, max_tokens: int) -> Prompt:
        letters, _ = _board(thought)
        words = {line: letters[places] for line, places in crossword_board.LINES.items()}
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
        letters, fits = _board(thought)
        over = not fits or "_" not in letters or thought.finish is Finish.END
        return letters if over and thought.finish is not Finish.LENGTH else None


def _board(thought: Thought) -> tuple[str, bool]:
    return crossword_board.played(solution_text(thought))


def _share(right: Sequence[bool]) -> Score:
    return Score(sum(right) / len(right), final=all(right))


@oracle
def letters_right(thought: Thought) -> Score:
    """Share of the 25 letters that are right, r_letter in the paper."""
    return _share([a == b for a, b in zip(_board(thought)[0], thought.problem.target, strict=True)])


@oracle
def words_right(thought: Thought) -> Score:
    """Share of the 10 words that are right, r_word in the paper."""
    letters, _ = _board(thought)
    return _share([letters[places] == thought.problem.target[places] for places in crossword_board.LINES.values()])


@oracle
def game_solved(thought: Thought) -> Score:
    """1 for the right board, else 0; r_game in the paper."""
    return _share([_board(thought)[0] == thought.problem.target])


SCORERS = {"letters_right": letters_right, "words_right": words_right, "game_solved": game_solved}
