"""Every mistake is one clear line and exit code 2, before a model loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import MINE, Runs
from tests.lanes import slow
from treereason.cli.main import main

MISTAKES: dict[str, tuple[str | tuple[str, ...], str]] = {
    "group": ("tsk=sorting", "tsk: no such option; did you mean task?"),
    "choice": ("task=sortin", "task=sortin: no such task; did you mean sorting?"),
    "key": ("task.limt=3", "task.limt: no such option with task=sorting; did you mean task.limit?"),
    "top key": ("temperatur=1", "temperatur: no such option; did you mean temperature?"),
    "engine key": ("engine.max_branchs=4", "did you mean engine.max_branches?"),
    "hydra key": ("hydra.rn.dir=x", "did you mean hydra.run.dir?"),
    "added key": ("+foo=1", "no option is called foo"),
    "added task key": ("+task.foo=1", "task.foo: sorting has no such option"),
    "k": ("search.k=0", "search.k=0: should be greater than or equal to 1"),
    "type": ("search.k=two", "search.k=two: should be a valid integer"),
    "boolean": ("search.k=true", "search.k=true: should not be true or false"),
    "temperature": ("temperature=-1", "temperature=-1: should be greater than or equal to 0"),
    "several": ("seed=0,1", "seed=0,1: several values: put -m in front"),
    "folder of a run in a sweep": (
        ("-m", "seed=0,1", "hydra.run.dir=mine"),
        "hydra.run.dir: says nothing with -m: give hydra.sweep.dir instead",
    ),
    "folder of a sweep for a run": (
        "hydra.sweep.dir=mine",
        "hydra.sweep.dir: says nothing without -m: give hydra.run.dir instead",
    ),
    "file": ("task.path=nowhere.csv", "no such file: nowhere.csv"),
    "row without ID": ("task.path=unnamed.csv", "task=sorting: the id of problem 2 is empty: give each an id of its"),
    "row": ("task.path=bad.csv", "bad.csv:3: not a list"),
    "scorer file": ("scorer=./nowhere.py:f", "scorer=nowhere.py:f: no such file"),
    "scorer syntax": ("scorer=./broken.py:f", "broken.py does not import: line 1: SyntaxError"),
    "scorer name": ("scorer=./mine.py:lou", "has no lou; did you mean loud?"),
    "scorer of task": ("scorer=sorting_error", "did you mean sorting_errors?"),
    "class": ("task=./mine.py:Shot", "has no Shot; did you mean Shout?"),
    "model name": ("model=transformers", "model.name is missing: give model.name=VALUE"),
    "model folder": (("model=transformers", "model.name=./nowhere"), "model.name=./nowhere: no such folder"),
    "architecture": (("model=transformers", "model.name=./bloom"), "model.name=./bloom: bloom cannot be served"),
    "style": (
        ("task=./mine.py", "model.style=fancy"),
        "model.style=fancy: should be 'embedded', 'spans', 'chat' or 'plain'",
    ),
    "word": ("sorting", "sorting: is not an option: write OPTION=VALUE"),
    "no name": ("=3", "=3: is not an option: write OPTION=VALUE"),
    "added without name": ("+=3", "+=3: is not an option: write OPTION=VALUE"),
    "deleted without name": ("~", "~: is not an option: write OPTION=VALUE"),
    "null folder": ("hydra.run.dir=null", "hydra.run.dir=None: the name of a folder is text"),
    "broken yaml": (("--config-dir=conf", "task=bad"), 'conf/task/bad.yaml", line '),
    "yaml that is not text": (("--config-dir=conf", "task=bytes"), "task/bytes.yaml cannot be composed: 'utf-8' codec"),
    "yaml without its default": (("--config-dir=conf", "task=lost"), "In 'task/lost': Could not load 'task/nowhere'"),
    "flag": ("--mutlirun", "--mutlirun: no such flag; did you mean --multirun?"),
    "grammar": ("task.path=[a", "task.path=[a: cannot be read; quote a value"),
    "interpolation": ("task.path=${nowhere}", "task.path: Interpolation key 'nowhere' not found"),
    "folder": ("hydra.run.dir=lists.csv/x", "lists.csv is a file, not a folder: choose another one"),
    "config dir": ("--config-dir=nowhere", "--config-dir nowhere: no such folder"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_code_2(case: str, runs: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    arguments, said = MISTAKES[case]
    assert main([arguments] if isinstance(arguments, str) else arguments) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("treereason: error: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert runs == []
    assert not Path("runs").exists()


PROBLEMS = "[Problem(str(i), i) for i in range(self.words)]"
# What is wrong with the task or search of mine.py: what stands there instead, and what is said.
BROKEN: dict[str, tuple[str, str, str]] = {
    "problems raise": (PROBLEMS, "{}['boom']", "mine.py:Shout: line 9: KeyError: 'boom'"),
    "problems exit": (PROBLEMS, "exit(3)", "mine.py:Shout: line 9: SystemExit: 3"),
    "problems are texts": (PROBLEMS, "['a']", "problems() holds str: return a list of Problem"),
    "problems are an iterator": (PROBLEMS, f"iter({PROBLEMS})", "problems() returned list_iterator: return a list"),
    "problems are none": (PROBLEMS, "None", "problems() returned NoneType: return a list of Problem"),
    "no problems": (PROBLEMS, "[]", "there are no problems in it; see task.path and task.limit"),
    "two of one name": ("str(i), i", "'same', i", "two problems are called same: give each an id of its own"),
    "ids are numbers": ("str(i), i", "i, i", "the id of a problem is 0: make it a string"),
    "an id is empty": ("str(i), i", "'', i", "the id of problem 1 is empty: give each an id of its own"),
    "prompt raises": ('Prompt("hi")', "1 / 0", "mine.py:Shout: line 10: ZeroDivisionError: division by zero"),
    "prompt is a text": ('Prompt("hi")', '"hi"', "prompt() returned str: return a Prompt or None"),
    "prompt is malformed": ('"hi")', '"hi", stop="END")', "line 10: ValueError: Prompt.stop='END': give a tuple of"),
    "no scorer": ('scorer = "loud"', "", "task Shout names no scorer: write scorer ="),
    "no solved": ("def solved", "def right", "mine.py:Shout: Shout has no solved: a task needs it"),
    "no parse": ("def parse", "def read", "mine.py:Shout: Shout has no parse: a task needs it"),
    "making it raises": ("    scorer =", "    def __post_init__(self): {}['x']\n    scorer =", "line 8: KeyError: 'x'"),
    "run is not async": ("async def run", "def run", "mine.py:Wide: its run is not a coroutine: write `async def run("),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_task_or_search_is_one_line_before_a_model_loads(
    case: str, runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    right, wrong, said = BROKEN[case]
    assert right in MINE
    Path("mine.py").write_text(MINE.replace(right, wrong))
    assert main(["task=./mine.py:Shout", "search=./mine.py:Wide"]) == 2
    captured = capfd.readouterr()
    assert captured.err.startswith("treereason: error: ")
    assert said in captured.err
    assert (captured.out, captured.err.count("\n"), runs) == ("", 1, [])


USERS_CODE: dict[str, tuple[str, str]] = {
    "a default that cannot be made": (
        "    words: int = field(default_factory=lambda: {}['x'])",
        "the default of words cannot be made: KeyError: 'x'",
    ),
    "a default that exits": ("    words: int = field(default_factory=lambda: exit(3))", "SystemExit: 3"),
    "a default without an end": (
        "    words: list = field(default_factory=lambda f=(lambda g: g(g)): f(f))",
        "the default of words cannot be made: RecursionError",
    ),
    "a default that only pydantic knows": (
        "    words: int = Field(2, ge=1)",
        "write words: Annotated[TYPE, Field(...)]",
    ),
    "a default that means none": (
        "    words: str = '???'",
        "words: the default '???' means that a value must be given",
    ),
    "a type that no option can have": ("    words: object = object()\n    other: Odd = None", ""),
    "a property that raises": (
        "    @property\n    def scorer(self): return {}['x']\n    words: int = 2",
        "KeyError: 'x'",
    ),
    "a scorer's property that raises": (
        "    words: int = 2\n    scorer = property(lambda self: 1 / 0)",
        "ZeroDivisionError",
    ),
    "problems without an end": (
        "    words: int = 2\n    def problems(self, seed): return self.problems(seed)",
        "RecursionError",
    ),
    "problems whose length raises": (
        "    words: int = 2\n    def problems(self, seed): return Rows()",
        "KeyError: 'rows'",
    ),
    "an id that raises": ("    words: int = 2\n    def problems(self, seed): return [Oddly('a', 1)]", "KeyError: 'id'"),
    "a post-init that exits": ("    words: int = 2\n    def __post_init__(self): raise SystemExit", "SystemExit"),
    "a post-init without an end": (
        "    words: int = 2\n    def __post_init__(self): self.__post_init__()",
        "RecursionError",
    ),
    "an error without a text": ("    words: int = 2\n    def problems(self, seed): raise Mute()", "Mute"),
    "a type that raises": ("    words: 'Missing' = 2", "the types of Shout cannot be read: NameError"),
}
ODD = """
from collections.abc import Sequence
from dataclasses import field
from pydantic import Field

class Odd: ...

class Rows(Sequence):
    def __len__(self): return {}['rows']
    def __getitem__(self, at): return {}['rows']

class Oddly(Problem):
    id = property(lambda self: {}['id'])
    def __init__(self, *values): ...

class Mute(Exception):
    def __str__(self): return 1 / 0
"""


OPTIONS = (["--help"], ["--cfg=job"], ["-m", "seed=0,1"])
QUICK = [(case, OPTIONS[i % len(OPTIONS)]) for i, case in enumerate(USERS_CODE)]
"""Each case with an option, beside the run of it; the slow lane tries it with the others."""


@pytest.mark.parametrize(
    ("case", "option"),
    [
        *((case, []) for case in USERS_CODE),
        *QUICK,
        *slow(*((case, option) for case in USERS_CODE for option in OPTIONS if (case, option) not in QUICK)),
    ],
)
def test_whatever_users_code_raises_is_one_line(
    case: str, option: list[str], runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    fields, said = USERS_CODE[case]
    text = MINE.replace("    words: int = 2", fields, 1)
    if "scorer" in fields:
        text = text.replace('    scorer = "loud"\n', "", 1)
    if "def problems" in fields:
        text = text.replace("def problems(self, seed): return [Pr", "def others(self, seed): return [Pr", 1)
    head, decorator, rest = text.partition("\n@dataclass")
    Path("mine.py").write_text(head + ODD + decorator + rest)
    code = main([*option, "task=./mine.py:Shout"])
    error = capfd.readouterr().err
    if code == 0:
        assert option or not said, "only what looks at no problem may pass"
        return
    assert (code, runs, error.count("\n")) == (2, [], 1)
    assert error.startswith("treereason: error: ")
    assert said in error


@pytest.mark.usefixtures("runs")
def test_a_class_that_cannot_be_looked_at_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    Path("meta.py").write_text(
        "class Meta(type):\n"
        "    def __getattribute__(cls, name):\n"
        "        return {}['it'] if name == 'run' else super().__getattribute__(name)\n"
        "class Search(metaclass=Meta): ..."
    )
    for option in ([], ["--help"]):
        assert main([*option, "search=./meta.py:Search"]) == 2
        assert capfd.readouterr().err == "treereason: error: meta.py:3: KeyError: 'it'\n"
