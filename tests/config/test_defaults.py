"""The defaults of a user's class arrive as the class says, and options of any type are read from text."""

from __future__ import annotations

import datetime
import decimal
import fractions
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from treereason.cli.choices import escaped
from treereason.cli.main import main
from treereason.config.models import ModelConfig, RemoteModelConfig
from treereason.config.options import defaults
from treereason.config.plain import plain
from treereason.config.registry import KINDS, builtin, find
from treereason.config.schema import Config
from treereason.config.validate import build_task
from treereason.core import UserError

SOURCE = """
import datetime, decimal, enum, fractions, pathlib, re
from dataclasses import dataclass, field
from treereason.core import Problem, Prompt

class Colour(enum.Enum):
    RED = 1

class Own: ...

@dataclass
class Nested:
    text: str = "a${b}"
    day: datetime.date = datetime.date(2024, 1, 2)

OWN = Own()
CYCLE = []
CYCLE.append(CYCLE)

@dataclass(frozen=True)
class Task:
    text: str = "pay ${amount} now"
    slashes: str = "\\\\\\\\${x} \\\\"
    empty: str = ""
    number: str = "007"
    sep: bytes = b","
    raw: bytes = b"\\xff\\x00"
    pattern: re.Pattern = re.compile("[0-9]+", re.I)
    day: datetime.date = datetime.date(2024, 1, 2)
    moment: datetime.datetime = datetime.datetime(2024, 1, 2, 3, 4, 5)
    wait: datetime.timedelta = datetime.timedelta(seconds=90)
    price: decimal.Decimal = decimal.Decimal("0.10")
    path: pathlib.Path = pathlib.Path("~/x y")
    letters: frozenset[str] = frozenset("ab")
    pair: tuple[int, str] = (1, "${x}")
    colour: Colour = Colour.RED
    nested: Nested = field(default_factory=Nested)
    own: Own = OWN
    table: dict = field(default_factory=lambda: {1: b"x", "two": {3, 4}})
    infinite: float = float("inf")
    whole: float = 1
    anything: object = None
    many: list[int] = field(default_factory=list)
    named: dict[str, int] = field(default_factory=dict)
    one_of: set[int] = field(default_factory=set)
    time: datetime.time = datetime.time(12, 30)
    share: fractions.Fraction = fractions.Fraction(1, 3)
    holds_itself: list = field(default_factory=lambda: CYCLE)
    size: int = 0
    def problems(self, seed): return [Problem("0", self)]
    def prompt(self, thought, style): return Prompt("hi")
    def parse(self, thought): return thought.text
    def solved(self, problem, answer): return True
    scorer = "one"

def one(thought): return 1.0
"""


@pytest.fixture
def reference(tmp_path: Path) -> str:
    (tmp_path / "defaults.py").write_text(SOURCE)
    return f"{tmp_path}/defaults.py:Task"


def test_every_default_arrives_as_the_class_says(reference: str) -> None:
    cls = find("task", reference)
    composed = OmegaConf.to_container(OmegaConf.create(escaped({"name": reference, **defaults(cls)})), resolve=True)
    assert isinstance(composed, dict)
    built: Any = build_task({str(key): value for key, value in composed.items()})
    for name, value in vars(cls()).items():
        if name == "holds_itself":  # which no comparison survives
            assert built.holds_itself is value
            continue
        assert (getattr(built, name), type(getattr(built, name))) == (value, type(value)), name
    assert built.own is cls().own


def test_the_same_on_the_command_line(reference: str, runs: Any) -> None:
    assert main([f"task={reference}", "task.size=3", 'task.text="a \\${b}"', "task.nested.text=c"]) == 0
    task = runs[0]["task"]
    assert (task.size, task.text, task.nested.text, task.nested.day) == (3, "a ${b}", "c", datetime.date(2024, 1, 2))
    assert (task.sep, task.pattern, task.table) == (b",", re.compile("[0-9]+", re.I), {1: b"x", "two": {3, 4}})


@pytest.mark.parametrize(
    ("option", "value", "right"),
    [
        ("sep", ";", b";"),
        ("pattern", "[a-z]", re.compile("[a-z]")),
        ("day", "2025-02-03", datetime.date(2025, 2, 3)),
        ("wait", "PT2S", datetime.timedelta(seconds=2)),
        ("price", "0.20", decimal.Decimal("0.20")),
        ("path", "here", Path("here")),
        ("letters", ["c"], frozenset("c")),
        ("pair", [2, "b"], (2, "b")),
    ],
)
def test_another_value_is_read_from_text(option: str, value: object, right: object, reference: str) -> None:
    assert getattr(build_task({"name": reference, option: value}), option) == right


def test_a_type_that_no_option_can_have_is_refused_by_name_once_a_value_is_given(reference: str) -> None:
    with pytest.raises(UserError, match=r"^task\.own: its type cannot be given as an option: .*Own"):
        build_task({"name": reference, "own": "x"})
    with pytest.raises(UserError, match=r"^task\.pair\.0=a: should be a valid integer"):
        build_task({"name": reference, "pair": ["a", "b"]})


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("many", [1, True], "task.many.1=true: should not be true or false"),
        ("named", {"a": False}, "task.named.a=false: should not be true or false"),
        ("one_of", [True], "task.one_of=[True]: should not hold true or false"),
        ("pair", [True, "b"], "task.pair.0=true: should not be true or false"),
        ("wait", True, "task.wait=true: should not be true or false"),
        ("nested", {"txt": "x"}, "task.nested.txt: Nested has no such field; did you mean text?"),
        ("nested", {"day": 0}, "task.nested.day=0: write a day as 2024-01-31"),
        ("moment", "2024", "task.moment='2024': write a day as 2024-01-31"),
        ("moment", 2024.5, "task.moment=2024.5: write a day as 2024-01-31"),
        ("time", 5, "task.time=5: write a day as 2024-01-31, a time as 12:30"),
        ("day", 0, "task.day=0: write a day as 2024-01-31"),
    ],
)
def test_a_value_of_another_meaning_is_refused(option: str, value: object, said: str, reference: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(said)}"):
        build_task({"name": reference, option: value})


def test_decimal_numbers_are_read_as_they_were_typed(reference: str, runs: Any) -> None:
    assert main([f"task={reference}", "task.price=0.12345678901234567890", "task.share=0.1", "task.path=~/x"]) == 0
    task = runs[0]["task"]
    assert str(task.price) == "0.12345678901234567890"
    assert task.share == fractions.Fraction(1, 10)
    assert task.path == Path("~/x").expanduser()


@pytest.mark.parametrize("raised", ["1 / 0", "exit(3)", "throw(GeneratorExit)", "throw(Own)"])
def test_a_default_that_cannot_be_made_is_one_line(
    raised: str, tmp_path: Path, runs: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    source = "class Own(BaseException): ...\ndef throw(kind): raise kind\n" + SOURCE.split("@dataclass(frozen")[0]
    source += f"@dataclass\nclass Task:\n    size: int = field(default_factory=lambda: {raised})\n"
    (tmp_path / "bad_default.py").write_text(source + SOURCE.partition("size: int = 0\n")[2])
    assert main([f"task={tmp_path}/bad_default.py:Task"]) == 2
    error = capfd.readouterr().err
    assert "the default of size cannot be made: " in error
    assert (error.count("\n"), runs) == (1, [])


@pytest.mark.parametrize("taken", ["name", "defaults"])
def test_a_field_whose_name_hydra_needs_is_refused(
    taken: str, tmp_path: Path, runs: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken.py").write_text(SOURCE.replace("size: int = 0", f"{taken}: int = 0"))
    assert main([f"task={tmp_path}/taken.py:Task"]) == 2
    assert f"Task has a field called {taken}, which is taken: rename it" in capfd.readouterr().err
    assert runs == []


def test_one_true_and_a_half_are_three_values(reference: str) -> None:
    with pytest.raises(UserError, match=r"^task\.size=false: should not be true or false"):
        build_task({"name": reference, "size": False})
    built: Any = build_task({"name": reference, "whole": 1.0})
    assert type(built.whole) is float


@given(st.text(alphabet="\\${}ab'\" .:?\n", max_size=12).filter(lambda text: text != "???"))
def test_text_comes_through_a_configuration_unchanged(text: str) -> None:
    kept = OmegaConf.create(escaped({"a": text, "b": [{"c": text}]}))
    assert OmegaConf.to_container(kept, resolve=True) == {"a": text, "b": [{"c": text}]}


def test_the_plain_form_of_a_default_does_not_depend_on_the_order_of_a_set() -> None:
    assert plain({"z", "a", "m"}) == ["a", "m", "z"]


def _bounds(cls: Any) -> dict[str, dict[str, Any]]:
    from pydantic import TypeAdapter

    schema = TypeAdapter(cls).json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name: option for part in parts for name, option in part.get("properties", {}).items()}


@pytest.mark.parametrize(
    "cls", [Config, ModelConfig, RemoteModelConfig, *(cls for kind in KINDS for cls in builtin(kind).values())]
)
def test_every_number_among_the_options_has_an_upper_bound(cls: Any) -> None:
    for name, option in _bounds(cls).items():
        for form in option.get("anyOf", [option]):
            if form.get("type") in ("integer", "number"):
                assert {"maximum", "exclusiveMaximum"} & set(form), name
