r"""Stated text as a value that compares: equal values are equal, and nothing is read in part.

A number is an `int`, or the text of its exact value (`0.5`, `1/3`). A set is `{1, 2}` in order and without repeats, an
interval, a tuple or a list keeps its order and brackets. All else is text in one plain form: lower case unless it is
LaTeX, single spaces, without quotes, `**bold**`, `$math$`, `\boxed{}` or a full stop around it.
"""

import re
import unicodedata
from decimal import Decimal
from fractions import Fraction

from treereason.tasks.numbers import read_number

LONGEST = 12_000
"""Longer text is compared as it stands."""

_STATED = re.compile(r"the (?:final |correct )?answer is:?", re.IGNORECASE)
_BOXED = re.compile(r"\\f?boxed ?\{")
_BRACES = re.compile(rf"{_BOXED.pattern}|(?<!\\)[{{}}]")
_SENTENCE_END = re.compile(
    r"(?<=\S)[.!?][*\"')\]]*\s+(?=[^\W\d_])|(?<=[^\s,;])[,;]?\s+(?:because|since|which)\s", re.IGNORECASE
)
_LATEX = (
    (re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname) ?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\[dt]?frac ?\{ ?([+-]?[0-9.,]+) ?\} ?\{ ?([0-9.,]+) ?\}"), r" \1/\2"),
    (re.compile(r"\\[dt]?frac ?([0-9])([0-9])"), r" \1/\2"),
    (re.compile(r"\\(?:left|right|displaystyle|limits)(?![A-Za-z])|\\!|\\[()\[\]]"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,;: ]|\\q?quad(?![A-Za-z])"), " "),
    (re.compile(r"\\([%$#&_{}])"), r"\1"),
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])"), "*"),
    (re.compile(r"\\infty(?![A-Za-z])"), "∞"),
    (re.compile(r"\\pi(?![A-Za-z])"), "π"),
    (re.compile(r"\^? ?\{? ?\\(?:circ|degree)(?![A-Za-z]) ?\}?"), "°"),
    (re.compile(r"\^ ?\{ ?([+-]?[0-9]+) ?\}"), r"^\1"),
)
_PAIRS = (
    (re.compile(r"(?<![\w)\]])\*\*(?=\S)([^*]+)(?<=\S)\*\*(?![\w(])"), r"\1"),
    (re.compile(r"(?<!\w)__(?=\S)([^_]+)(?<=\S)__(?!\w)"), r"\1"),
    (re.compile(r"`([^`]*)`"), r"\1"),
    (re.compile(r"\$([^$]+)\$(?!\d)"), r"\1"),
)
_NAMED = re.compile(r"(?:[a-zA-Z] ?)?= ?(?=[^=]+$)|[a-zA-Z] ?(?:∈|\\in) ?(?=[^∈=]+$)")
_SUPERSCRIPTS = {**dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)), "⁺": "+", "⁻": "-"}
_SUPERSCRIPT = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_SPELLINGS = {
    **dict.fromkeys("−–—‐‑‒﹣", "-"),
    **dict.fromkeys("×·⋅∙✕", "*"),
    **dict.fromkeys("⁄∕÷", "/"),
    **dict.fromkeys("’‘ʼ′", "'"),
    **dict.fromkeys("“”„″", '"'),
    **dict.fromkeys("，،٬", ","),
    "٫": ".",
    "٪": "%",
}
_OPEN, _CLOSE = "([{", ")]}"
_DEEPEST = 20
_ENDLESS = {"inf": "∞", "infinity": "∞", "+∞": "∞", "+inf": "∞", "-inf": "-∞", "-infinity": "-∞"}


def statement(text: str, *, cut: bool = False) -> str | None:
    r"""What the last "the answer is ..." states, else the last `\boxed{...}`; None where nothing is stated.

    It goes to the end of the line, or of the sentence where that leaves a number.
    cut: a limit ended `text`, so what stands at its very end may go on and is not stated unless a bracket closes it.
    """
    parts = _STATED.split(text)
    if len(parts) == 1:
        return _last_box(text)
    line, line_end, _ = parts[-1].partition("\n")
    end = _SENTENCE_END.search(line)
    if end is not None and is_number(line[: end.start()]):
        return line[: end.start()]
    return line if line_end or not cut else _last_box(line)


def canonical(text: str) -> int | str:
    """A whole stated text in the form that answers are compared in: ` $1,024.00 each.` gives 1024; "" is no answer."""
    return _canonical(text, _DEEPEST)


def is_number(text: str) -> bool:
    """Whether `text` is read as one number, whole."""
    return read_number(plain(text)) is not None


def plain(text: str) -> str:
    """One spelling of what is written in many: spaces, digits, signs, quotes, bold, LaTeX, upper and lower case."""
    if len(text) > LONGEST:
        return " ".join(text.casefold().split())
    before = ""
    while before != text:  # each round takes signs away or keeps them, so it ends
        before, text = text, _simpler(text)
    return text


def spelled(value: Fraction) -> int | str:
    """The one form of a number: an int, or the text of its decimals, or of a fraction where those never end."""
    above, below = Decimal(value.numerator), Decimal(value.denominator)
    if below == 1:
        return value.numerator if above.adjusted() < 4000 else format(above, "f")
    places = _places(value.denominator)
    if places is None:
        return f"{above:f}/{below:f}"
    digits = format(Decimal(abs(value.numerator) * 10**places // value.denominator), "f").zfill(places + 1)
    return "-" * (value < 0) + f"{digits[:-places]}.{digits[-places:]}"


def _places(denominator: int) -> int | None:
    """Decimals that a fraction with this denominator needs; None where they never end, or are more than 1000."""
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0 and fives <= 1000:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    return places if rest == 1 and places <= 1000 else None


def _last_box(text: str) -> str | None:
    boxes = list(_BOXED.finditer(text))
    end = _closing(text, boxes[-1].end()) if boxes else None
    return None if end is None else text[boxes[-1].end() : end]


def _closing(text: str, start: int) -> int | None:
    """Where the brace closes that opens in front of `start`; None where it stays open."""
    depth = 1
    for brace in _BRACES.finditer(text, start):
        depth += -1 if brace[0] == "}" else 1
        if not depth:
            return brace.start()
    return None


def _unboxed(text: str) -> str:
    """`text` without the boxes that are closed; what is in them stays."""
    opened: list[re.Match[str]] = []
    gone: list[tuple[int, int]] = []
    for brace in _BRACES.finditer(text):
        if brace[0] != "}":
            opened.append(brace)
        elif opened and (box := opened.pop())[0] != "{":
            gone += [box.span(), brace.span()]
    start, parts = 0, []
    for first, end in sorted(gone):
        parts.append(text[start:first])
        start = end
    return "".join([*parts, text[start:]])


def _simpler(text: str) -> str:
    text = "".join(map(_letter, unicodedata.normalize("NFC", text)))
    text = _SUPERSCRIPT.sub(lambda run: "^" + "".join(_SUPERSCRIPTS[sign] for sign in run[0]), text)
    text = _unboxed(text)
    for pattern, by in (*_LATEX, *_PAIRS):
        text = pattern.sub(by, text)
    text = " ".join((text if "\\" in text else text.casefold()).split())
    text = _NAMED.sub("", text, count=1) if _NAMED.match(text) else text
    text = text.lstrip(" *:\"'").rstrip(" *.,;:\"'")
    if text.endswith("!") and not text[:-1].isdecimal():  # 5! is 120
        text = text.rstrip("!")
    return text


def _letter(letter: str) -> str:
    """A character in its plainest form that means the same, "" for one that cannot be seen."""
    if letter.isascii():
        return letter
    if letter in _SPELLINGS:
        return _SPELLINGS[letter]
    category = unicodedata.category(letter)
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    if category == "Cf":
        return ""
    form = unicodedata.decomposition(letter)
    if form.startswith("<fraction>"):
        return " " + unicodedata.normalize("NFKC", letter).replace("⁄", "/")
    if form.startswith(("<wide>", "<narrow>", "<small>")):
        return unicodedata.normalize("NFKC", letter)
    return letter


def _canonical(text: str, depth: int) -> int | str:
    text = plain(text)
    number = read_number(text)
    if number is not None:
        return spelled(number)
    if text in _ENDLESS:
        return _ENDLESS[text]
    if depth and text[:1] in _OPEN and text[-1:] in _CLOSE and (members := _members(text[1:-1])):
        return _collection(text[0], [str(_canonical(member, depth - 1)) for member in members], text[-1])
    return text


def _collection(opening: str, members: list[str], closing: str) -> str:
    if (opening, closing, len(members)) == ("(", ")", 1):  # (b) is a choice
        return members[0]
    if (opening, closing) == ("{", "}"):
        members = sorted(set(members))
    between = "; " if any(", " in member for member in members) else ", "
    return opening + between.join(members) + closing


def _members(inside: str) -> list[str] | None:
    """What semicolons part, else commas with a space, else commas; None where the brackets inside do not pair."""
    for mark in (";", ", ", ","):
        depth, start, members = 0, 0, []
        for i, letter in enumerate(inside):
            depth += (letter in _OPEN) - (letter in _CLOSE)
            if depth < 0:
                return None
            if not depth and inside.startswith(mark, i):
                members.append(inside[start:i])
                start = i + len(mark)
        if depth:
            return None
        if members or mark == ",":
            members.append(inside[start:])
            return members if all(member.strip() for member in members) else None
    return None
