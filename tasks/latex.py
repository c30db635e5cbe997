"""A scorer for answers in LaTeX, which math-verify compares: scorer=math_equal of task=word_problems.

Other tasks take it as scorer=treereason.tasks.latex:MathEqual. It needs `pip install 'treereason[math]'`. A task still
calls solved what equals its target as it stands.
"""

import logging
import re
from typing import ClassVar

from treereason.core import Score, Thought, oracle
from treereason.tasks.answers import brackets, is_number

_NAMED = re.compile(r"[A-Za-z\\][\w\\(){}, ']*=[^=]*")
_GOES_ON = re.compile(r"\.\.\.|\\[lcd]?dots")
_EXPRESSION = re.compile(
    r"[\\^*/+=<>√π∪∩!]|\d[a-z]|[([{]|\d, |(?<![A-Za-z])[A-Za-z\d] ?- ?[A-Za-z\d](?![A-Za-z])"  # x-1, but no x-ray
)


@oracle
class MathEqual:
    r"""1 when the answer equals the target as mathematics, else 0: `2\sqrt{2}` is `\sqrt{8}`, `x+1` is `1+x`.

    What is equal as it stands, and all plain numbers, are compared as exact_match does. The rest is parsed by
    math-verify, which may run for long on a hostile text: the scorer's time limit ends it. It reads some texts in part,
    so a set, a tuple, a list, an equation and what goes on in dots are equal to their own kind only. A list without
    brackets, such as the solutions `1, -2`, is equal in any order.

    needs: the package, and what installs it; a run without it is refused before it starts.
    """

    needs: ClassVar[tuple[str, str]] = ("math_verify", "treereason[math]")

    def __init__(self) -> None:
        import math_verify

        # It warns at each call that its own time limits are off; they need signals, and a scorer has a limit already.
        logging.getLogger("math_verify").setLevel(logging.ERROR)
        self._math_verify = math_verify

    def __call__(self, thought: Thought) -> Score:
        answer, target = thought.answer, thought.problem.target
        right = answer is not None and (answer == target or self._equal(str(answer), str(target)))
        return Score(float(right), final=right)

    def _equal(self, answer: str, target: str) -> bool:
        if (is_number(answer) and is_number(target)) or not (_EXPRESSION.search(answer) or _EXPRESSION.search(target)):
            return False
        if _kind(answer) != _kind(target):
            return False
        return bool(self._math_verify.verify(self._parsed(target), self._parsed(answer), timeout_seconds=None))

    def _parsed(self, text: str) -> object:
        latex = [self._math_verify.LatexExtractionConfig()]
        return self._math_verify.parse(f"${text}$", latex, fallback_mode="no_fallback", parsing_timeout=None)


def _kind(text: str) -> tuple[str, bool, bool, bool]:
    """Brackets around the whole or commas without, an equation that is no name for its right side, dots at the end."""
    around = brackets(text)
    equation = "=" in text and not _NAMED.fullmatch(text)
    return around, not around and "," in text, equation, bool(_GOES_ON.search(text))
