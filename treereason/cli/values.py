"""Values in hydra's grammar: read from what was typed, and written so that hydra reads the same again."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString, RangeSweep, ValueType
from hydra.errors import HydraException

from treereason.config.secrets import repeatable
from treereason.core import UserError
from treereason.text import LONGEST_LINE, shorten

LONGEST_OVERRIDE = 10_000  # of which the parser of hydra needs seconds when they are brackets
MOST_VALUES = 10_000  # of one option in a sweep
_STRUCTURE = re.compile(r"[\[\]{}(),'\"\\\n\r\t]|\$\{")
_QUOTED = re.compile(r"\s*(?P<quote>['\"])")
_CHOICE = re.compile(r"\s*(choice|sort|shuffle)\((?P<values>.*)\)\s*", re.DOTALL)
_PIECE = re.compile(r"""(?:[^,'"\\\[\]{}()]|\\.|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")+""")


def parse(text: str, loader: ConfigLoader | None = None) -> Override:
    """One override, read by hydra. Raises UserError.

    A value that hydra's grammar has no place for, such as ~/mine.py or ./été.py, is read as if it were quoted.
    """
    key, equals, value = text.partition("=")
    if not key.strip("+~ ") or (not equals and not text.startswith("~")):
        raise UserError(
            f"{shorten(repeatable(text), LONGEST_LINE)}: is not an option: write OPTION=VALUE, such as task=sorting; "
            "see `treereason --help`"
        )
    if len(text) > LONGEST_OVERRIDE:
        raise UserError(
            f"{shorten(repeatable(text), LONGEST_LINE)}: {len(text):,} characters, more than {LONGEST_OVERRIDE:,}"
        )
    attempts = [text] if not equals or _STRUCTURE.search(value) else [text, f"{key}={quoted(value)}"]
    for attempt in attempts:
        try:
            read = OverridesParser.create(config_loader=loader).parse_overrides([attempt])[0]
        except (HydraException, RecursionError, ValueError, ArithmeticError):
            continue
        if read.is_choice_sweep() and (pieces := _choices(read)):
            return parse(f"{key}={','.join(pieces)}", loader)
        return read
    shown = shorten(repeatable(text), LONGEST_LINE)
    raise UserError(f"{shown}: cannot be read; quote a value with special characters: '{shorten(key, 60)}=\"...\"'")


def quoted(text: str) -> str:
    """The text as a quoted string of hydra's grammar."""
    written: str = QuotedString(text, Quote.double).with_quotes()
    return written


def typed(text: str) -> str:
    """The text as it is typed behind an option: quoted only where hydra would read something else."""
    try:
        read = parse(f"x={text}")
    except UserError:
        return quoted(text)
    return text if not read.is_sweep_override() and read._value == text and text == text.strip() else quoted(text)


def as_name(value: str) -> str:
    """A typed value as text, whatever it looks like: 2024_11_05 becomes "2024_11_05"."""
    return value if _QUOTED.match(value) else quoted(value.strip())


def is_misread(override: Override) -> bool:
    """Whether the value is no text to hydra, but a number, a truth value or null, perhaps in one spelling of many."""
    return override.value_type == ValueType.ELEMENT and isinstance(override._value, (bool, int, float, type(None)))


def spellings(override: Override) -> list[str]:
    """The values of an override, each as it can be typed behind the option. Raises UserError."""
    if override.value_type is None:  # ~option
        return []
    if not override.is_sweep_override():
        return [override.get_value_string()]
    if override.value_type == ValueType.SIMPLE_CHOICE_SWEEP:
        pieces = _split(override.get_value_string())
        if len(pieces) == len(list(override.sweep_iterator())):
            return pieces
    if not override.is_discrete_sweep():
        raise UserError(f"{override.input_line}: give a list of values, or range(START,STOP,STEP)")
    _check_range(override)
    try:
        found = list(itertools.islice(override.sweep_string_iterator(), MOST_VALUES + 1))
    except (HydraException, TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"{override.input_line}: {error}") from None
    if len(found) > MOST_VALUES:
        raise UserError(f"{override.input_line}: more than {MOST_VALUES:,} values")
    if not found:
        raise UserError(f"{override.input_line}: no value is left to run")
    return found


def texts(override: Override) -> Iterator[str]:
    """The values of an override as plain text, without quotes."""
    for spelling in spellings(override):
        read = parse(f"{override.key_or_group}={spelling}")
        value = read._value
        yield value.text if isinstance(value, QuotedString) else value if isinstance(value, str) else spelling.strip()


def combined(values: Iterable[list[str]], most: int) -> list[tuple[str, ...]]:
    """Every combination. Raises UserError when there are more than `most`."""
    found = list(itertools.islice(itertools.product(*values), most + 1))
    if len(found) > most:
        raise UserError(f"-m: more than {most:,} runs; split the sweep")
    return found


def _choices(override: Override) -> list[str]:
    """The values of choice(...), sort(...) or shuffle(...) as they were typed, for hydra loses quotes and spellings.

    Empty for other functions.
    """
    called = _CHOICE.fullmatch(override.get_value_string())
    if called is None:
        return []
    typed = {_plain(piece): piece for piece in _split(called["values"])}
    values = [(type(value), str(value)) for value in override.sweep_iterator()]
    return [typed[value] for value in values] if all(value in typed for value in values) else []


def _plain(spelling: str) -> tuple[type, str]:
    """What hydra takes a spelling for."""
    try:
        value = parse(f"x={spelling}")._value
    except UserError:
        return str, spelling
    return (str, value.text) if isinstance(value, QuotedString) else (type(value), str(value))


def _split(value: str) -> list[str]:
    """The parts of `a,"b,c",[d,e]` between its outer commas."""
    parts, start, at, depth = [], 0, 0, 0
    while at < len(value):
        if piece := _PIECE.match(value, at):
            at = piece.end()
            continue
        depth += {"[": 1, "{": 1, "(": 1, "]": -1, "}": -1, ")": -1}.get(value[at], 0)
        if value[at] == "," and depth == 0:
            parts.append(value[start:at].strip())
            start = at + 1
        at += 1
    return [*parts, value[start:].strip()]


def _check_range(override: Override) -> None:
    """Refuse a range before it is counted out: a shuffled one would be, whatever its length."""
    sweep = override._value
    if not isinstance(sweep, RangeSweep):
        return
    try:
        start, stop, step = (Decimal(str(number)) for number in (sweep.start, sweep.stop, sweep.step))
        endless = not (start.is_finite() and stop.is_finite() and step.is_finite() and step)
        if endless or (stop - start) / step > MOST_VALUES:
            raise UserError(f"{override.input_line}: more than {MOST_VALUES:,} values")
    except InvalidOperation:
        raise UserError(f"{override.input_line}: not a range of numbers") from None
