r"""Stated text as a value that compares: equal values are equal, and nothing is read in part.

A number is an `int`, or the text of its exact value (`0.5`, `1/3`). A set is `{1, 2}` in order and without repeats, as
is a union; an interval, a tuple or a list keeps its order and brackets. Numbers without brackets are a list where `;`
or a comma parts them. All else is text in one plain form: lower case unless it is LaTeX, single spaces,
without quotes, `**bold**`, `$math$`, `\boxed{}` or a full stop around it. Of two statements the last one counts.
"""

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from treereason.tasks.numbers import read_number

LONGEST = 12_000
"""Longer text is compared as it stands."""

_STATED = re.compile(r"the (?:final |correct )?answer is(?!\w):?", re.IGNORECASE)
_HEAD = re.compile(
    r"^[ \t*_#>]*(?:(?:final |correct )?answer[ \t*_]*:(?:\*\*|__)?|####(?!#))\s*", re.IGNORECASE | re.MULTILINE
)
_NOTHING_YET = re.compile(r"[\s*_$:`]*(?:\\[\[(])?\s*")
_FENCE = re.compile(r"^[ \t]*(?:```[\w+-]*|\$\$|\\[\[\]])[ \t]*$\n?", re.MULTILINE)
_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore|sure|okay)\b[,!.:]? *)?"
    r"(?:(?:(?:it|this|that|the (?:final )?(?:result|sum|difference|product|total|value|solution))(?: is|'s| equals)|"
    r"here (?:is|'s) (?:the|your) (?:final )?(?:answer|result|solution)|(?:final )?(?:result|solution))"
    r"\b[ *_]*:? *(?:\*\*)?)? *",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\f?boxed ?\{")
_BARE_BOX = re.compile(r"\\f?boxed +([^\s{}$][^{}$\n]*)\$")
_BRACES = re.compile(rf"{_BOXED.pattern}|(?<!\\)[{{}}]")
_SENTENCE_END = re.compile(
    r"(?<=\S)([.!])[*\"')\]]*\s+(?=[^\W\d_])|(?<=[^\s,;])[,;]?\s+(?:because|since|which)\s", re.IGNORECASE
)
_LATEX = (
    (re.compile(r"~(?=\\)"), " "),
    (re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname) ?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\[dt]?frac ?\{ ?([+-]?[0-9.,]+) ?\} ?\{ ?([0-9.,]+) ?\}"), r" \1/\2"),
    (re.compile(r"\\[dt]?frac ?(?:\{([+-]?[0-9]+)\}|([0-9])) ?(?:\{([0-9]+)\}|([0-9]))"), r" \1\2/\3\4"),
    (re.compile(r",\\! ?"), ","),  # groups of a number
    (re.compile(r"\\(?:left|right|displaystyle|limits)(?![A-Za-z])|(?<!\\)\\[!()\[\]]"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<!\\)\\[,;: ]|\\q?quad(?![A-Za-z])"), " "),  # behind a \ they begin a row of a matrix
    (re.compile(r"\\([%$#&_{}])"), r"\1"),
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])"), "*"),
    (re.compile(r"\\infty(?![A-Za-z])"), "∞"),
    (re.compile(r"\\pi(?![A-Za-z])"), "π"),
    (re.compile(r"\\(?:cup|bigcup)(?![A-Za-z])"), "∪"),
    (re.compile(r"\\(?:emptyset|varnothing)(?![A-Za-z])"), "∅"),
    (re.compile(r"\^? ?\{? ?\\(?:circ|degree)(?![A-Za-z]) ?\}?"), "°"),
    (re.compile(r"\^ ?\{ ?([+-]?[0-9]+) ?\}"), r"^\1"),
)
_PAIRS = (
    (re.compile(r"(?<![\w)\]])\*\*(?=\S)([^*]+)(?<=\S)\*\*(?![\w(])"), r"\1"),
    (re.compile(r"(?<!\w)(__?)(?=\S)([^_]+)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"`([^`]*)`"), r"\1"),
    (re.compile(r"\$([^$]+)\$(?!\d)"), r"\1"),
)
_NAMED = re.compile(
    r"(?:[a-zA-Z] ?)?= ?(?=[^=]+$)|[a-zA-Z] ?(?:∈|\\in) ?(?=[^∈=]+$)|"
    r"\\?[^\W\d_]\w*(?:_\{\w+\})? ?= ?(?=[-+$€£ ]*\.?[0-9][^=]*$)|"
    r"[0-9$€£(][0-9 .,$€£()%]*(?:[-+*/x] ?[0-9$€£(][0-9 .,$€£()%]*)+= ?(?=[-+$€£ ]*\.?[0-9][^=]*$)"  # 2 * 6 = 12 miles
)
_MEGA = re.compile(r"(?<=[0-9])( ?MM?)(?!\w)")
_GOES_ON = re.compile(r"[0-9,] ?\.{3,}[ *\"']*$")
_EXCLAIMED = re.compile(r"(?:[^\W\d_]{2}|[$€£¥₹%.,][0-9]*|^\(?[a-e]\)?) ?!+$")
_SUPERSCRIPTS = {**dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)), "⁺": "+", "⁻": "-"}
_SUPERSCRIPT = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_SPELLINGS = {
    **dict.fromkeys("−–—‐‑‒﹣", "-"),
    **dict.fromkeys("×·⋅∙✕", "*"),
    **dict.fromkeys("⁄∕÷", "/"),
    "\u2062": "*",  # these three are there, though nobody sees them: times, comma, plus
    "\u2063": ",",
    "\u2064": "+",
    "…": "...",
    **dict.fromkeys("’‘ʼ′", "'"),
    **dict.fromkeys("“”„″", '"'),
    **dict.fromkeys("，،٬", ","),
    "٫": ".",
    "٪": "%",
}
_GROUP = re.compile(r"0[0-9]{2}(?:\.[0-9]+)?")
_OPEN, _CLOSE = "([{", ")]}"
_DEEPEST = 20
_NAMES = {"{}": "∅", "inf": "∞", "infinity": "∞", "+∞": "∞", "+inf": "∞", "-inf": "-∞", "-infinity": "-∞"}


def statement(text: str, *, cut: bool = False) -> str | None:
    r"""What the last "the answer is ..." states, else the last `\boxed{...}`; None where nothing is stated.

    It goes to the end of the line, or of the sentence where that leaves a number; the line may be the next one.
    Of boxes in one another the outer one counts.
    cut: a limit ended `text`, so what stands at its very end may go on and is not stated unless a box closes it.
    """
    parts = _STATED.split(text)
    if len(parts) == 1:
        return last_box(text)
    line, line_end, rest = parts[-1].partition("\n")
    while line_end and _NOTHING_YET.fullmatch(line):
        line, line_end, rest = rest.partition("\n")
    sentence = _number_sentence(line)
    if sentence is not None:
        return sentence
    if line_end or not cut:
        return line
    box = last_box(line)
    return box if box is not None and plain(box) == plain(line) else None


def is_bare_number(line: str) -> bool:
    """Whether a line is a number and nothing more, not even what it is equal to."""
    return "=" not in line and is_number(line)


def final_answer(
    text: str, *, cut: bool = False, ended: bool = True, holds: Callable[[str], bool] = is_bare_number
) -> str | None:
    """What a text gives as its answer: its statement, else what its last `Answer:` or `####` heads, else its last line.

    What is headed must be an answer by itself or end the text, a last line must be an answer by itself, perhaps behind
    words such as "The result is"; `holds` says what is. Lines that only open or close code or a formula are no lines.
    cut: as for statement; nothing else is whole then. ended: the text does not go on behind its last line.
    """
    stated = statement(text, cut=cut)
    if stated is not None or cut:
        return stated
    parts = _HEAD.split(text)
    line, _, rest = parts[-1].partition("\n")
    line = _number_sentence(line) or line
    if len(parts) > 1 and (holds(line) or not rest.strip()):
        return line
    last = unfenced(text).rstrip().rpartition("\n")[2]
    answers = (last, _LEAD.sub("", last, count=1)) if ended else ()
    return next((answer for answer in answers if holds(answer)), None)


def unfenced(text: str) -> str:
    """`text` without the lines that only open or close a block of code or a formula."""
    return _FENCE.sub("", text)


def canonical(text: str) -> int | str:
    """A whole stated text in the form that answers are compared in: ` $1,024.00 each.` gives 1024; "" is no answer."""
    return _canonical(text, _DEEPEST)


def is_number(text: str) -> bool:
    """Whether `text` is read as one number, whole."""
    return read_number(plain(text)) is not None


def plain(text: str, *, named: bool = False) -> str:
    """One spelling of what is written in many: spaces, digits, signs, quotes, bold, LaTeX, upper and lower case.

    named: keep what the value is said to equal, the `2 * 6 =` of `2 * 6 = 12`.
    """
    if len(text) > LONGEST:
        return " ".join(text.casefold().split())
    before = ""
    while before != text:  # each round takes signs away or keeps them, so it ends
        before, text = text, _simpler(text, named)
    return text


def brackets(text: str) -> str:
    """The pair of brackets around a set, a list, a tuple or an interval, as canonical answers have it; else ""."""
    pair = text[:1] + text[-1:]
    inside = _members(text[1:-1]) if len(pair) == 2 and pair[0] in _OPEN and pair[1] in _CLOSE else None
    return "" if not inside or (pair == "()" and len(inside) == 1) else pair


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


def _number_sentence(line: str) -> str | None:
    """The first sentence of a line of several, if it is a number: `5. So it is` but not `5. million` or `5! So`."""
    end = _SENTENCE_END.search(line)
    if end is None:
        return None
    sentence, rest = line[: end.start()], line[end.end() :]
    if end[1] == "!":  # 5! is 120
        sentence += "!"
    elif end[1] and rest[0].islower() and is_number(f"{sentence} {rest}"):
        return None
    return sentence if is_number(sentence) else None


def last_box(text: str) -> str | None:
    r"""What is in the last box that is in no other one; None without boxes, and where that one stays open.

    Without braces, as in `$\boxed 5$`, a box ends with the formula.
    """
    bare = list(_BARE_BOX.finditer(text))
    inside, end = (bare[-1][1], -1) if bare else (None, -1)
    for box in _BOXED.finditer(text):
        if box.start() < end:
            continue
        closing = _closing(text, box.end())
        if closing is None:
            return None
        inside, end = text[box.end() : closing], closing
    return inside


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
        apart = text[first - 1 : first].isalnum() and text[end : end + 1].isalnum()  # 5\boxed{7} is not 57
        parts.append(text[start:first] + " " * apart)
        start = end
    return "".join([*parts, text[start:]])


def _simpler(text: str, named: bool) -> str:
    text = "".join(map(_letter, unicodedata.normalize("NFC", text)))
    text = _SUPERSCRIPT.sub(lambda run: "^" + "".join(_SUPERSCRIPTS[sign] for sign in run[0]), text)
    text = _unboxed(text)
    for pattern, by in (*_LATEX, *_PAIRS):
        text = pattern.sub(by, text)
    text = " ".join((text if "\\" in text else _folded(text)).split())
    if not named and _NAMED.match(text):
        text = _NAMED.sub("", text, count=1)
    text = text.lstrip(" *:\"'").rstrip(" *\"'" if _GOES_ON.search(text) else " *.,;:\"'")
    if text.endswith("!") and "\\" not in text and _EXCLAIMED.search(text):  # 5! is 120
        text = text.rstrip("!")
    return text


def _folded(text: str) -> str:
    """Lower case, but for the M of `5 M`: it may stand for millions, the m of `5 m` for metres."""
    return "".join(part if i % 2 else part.casefold() for i, part in enumerate(_MEGA.split(text)))


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
    if text in _NAMES:
        return _NAMES[text]
    if depth and text[:1] in _OPEN and text[-1:] in _CLOSE and (members := _members(text[1:-1])):
        return _collection(text[0], [_member(member, depth - 1) for member in members], text[-1])
    if depth and "∪" in text and (members := _parted(text, "∪")) and all(part.strip() for part in members):
        return " ∪ ".join(sorted({_member(member, depth - 1) for member in members}))
    if (members := _numbers(text)) is not None:
        return ", ".join(members)
    return text


def _member(text: str, depth: int) -> str:
    return "..." if text.strip() == "..." else str(_canonical(text, depth))


def _numbers(text: str) -> list[str] | None:
    """The numbers of a list without brackets, which semicolons part, or commas; else None."""
    for mark in ("; ", ", ", ","):
        parts = text.split(mark)
        if mark == "," and any(_GROUP.fullmatch(part) for part in parts[1:]):  # a number that is written wrongly
            return None
        values = [read_number(plain(part)) for part in parts] if mark in text else []
        if values and all(value is not None for value in values):
            return [str(spelled(value)) for value in values if value is not None]
    return None


def _collection(opening: str, members: list[str], closing: str) -> str:
    if (opening, closing, len(members)) == ("(", ")", 1):  # (b) is a choice
        return members[0]
    if (opening, closing) == ("{", "}"):
        members = sorted(set(members))
    between = "; " if any(", " in member for member in members) else ", "
    return opening + between.join(members) + closing


def _members(inside: str) -> list[str] | None:
    """What semicolons part, else commas with a space, else commas; None where the brackets inside do not pair.

    A comma in front of 000 may part groups of one number: that is None too unless all of it is one.
    """
    for mark in (";", ", ", ","):
        members = _parted(inside, mark)
        if members is None:
            return None
        if mark == "," and any(_GROUP.fullmatch(member) for member in members[1:]):
            return [inside] if read_number(inside) is not None else None
        if len(members) > 1 or mark == ",":
            return members if all(member.strip() for member in members) else None
    return None


def _parted(text: str, mark: str) -> list[str] | None:
    """The parts between marks outside of brackets; None where the brackets do not pair."""
    depth, start, parts = 0, 0, []
    for i, letter in enumerate(text):
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if depth < 0:
            return None
        if not depth and text.startswith(mark, i):
            parts.append(text[start:i])
            start = i + len(mark)
    return None if depth else [*parts, text[start:]]
