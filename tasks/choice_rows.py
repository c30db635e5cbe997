"""Lines of multiple-choice files in the forms in which they are published.

MMLU (Hendrycks et al. 2020, arXiv 2009.03300): `question`, `choices`, `answer`. ARC (Clark et al. 2018, arXiv
1803.05457): `choices` with `text` and `label`, `answerKey`. HellaSwag (Zellers et al. 2019, arXiv 1905.07830): `ctx`,
`endings`, `label`. Choices may also be an object from label to text.
"""

from pathlib import Path
from string import ascii_uppercase
from typing import Any

from treereason.core import UserError
from treereason.tasks.examples import Worked, text_of
from treereason.tasks.files import bad_line
from treereason.text import shown

LETTERS = ascii_uppercase
_KEYS = ("question", "question_stem", "ctx"), ("choices", "endings"), ("answer", "answerKey", "label")


def choice_row(path: Path, line: int, value: dict[str, Any]) -> Worked:
    """A question, its choices, and the letter of the right one. Raises UserError naming file and line."""
    asked, offered, right = (next((key for key in keys if key in value), "") for keys in _KEYS)
    if not (asked and offered and right):
        expected = "expected question, choices and answer (or answerKey), or ctx, endings and label"
        raise bad_line(path, line, f"{expected}; the keys are {', '.join(value) or 'none'}")
    question = text_of(path, line, value, asked)
    labels, choices = _labelled(path, line, value[offered])
    index = _index(value[right], labels, choices)
    if index is None:
        raise bad_line(path, line, f"the {right} names none of the {len(choices)} {offered}: {shown(value[right])}")
    return Worked(question, LETTERS[index], LETTERS[index], choices=tuple(choices))


def _labelled(path: Path, line: int, offered: Any) -> tuple[list[str], list[str]]:
    """The labels and the texts of the choices; a list's labels are A, B, and so on."""
    labels: Any = list(LETTERS)
    if isinstance(offered, dict):
        arc = set(offered) == {"text", "label"}
        labels, offered = (offered["label"], offered["text"]) if arc else (list(offered), list(offered.values()))
    if not isinstance(offered, list) or not isinstance(labels, list) or not 2 <= len(offered) <= len(LETTERS):
        raise _bad_choices(path, line, offered)
    if labels != list(LETTERS) and len(labels) != len(offered):
        raise bad_line(path, line, f"{len(labels)} labels for {len(offered)} choices")
    if not all(isinstance(text, str) and text.strip() for text in offered):
        raise _bad_choices(path, line, offered)
    return [str(label) for label in labels[: len(offered)]], [text.strip() for text in offered]


def _bad_choices(path: Path, line: int, offered: Any) -> UserError:
    return bad_line(path, line, f"the choices are not 2 to {len(LETTERS)} texts: {shown(offered)}")


def _index(right: Any, labels: list[str], choices: list[str]) -> int | None:
    """Which choice an answer names: by label, by number from 0, or by its text."""
    if isinstance(right, str) and right.strip() in labels:
        return labels.index(right.strip())
    if isinstance(right, str) and right.strip() in choices:
        return choices.index(right.strip())
    if isinstance(right, bool) or not isinstance(right, (int, str)):
        return None
    number = int(right) if str(right).isascii() and str(right).isdigit() and len(str(right)) < 3 else len(choices)
    return number if number < len(choices) else None
