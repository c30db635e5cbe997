"""The configuration: what is refused, and that every shipped file builds what it names."""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

from treereason.cli import help as help_text
from treereason.config import plugins
from treereason.config.schema import Config, EngineConfig, nearest, parse
from treereason.core import UserError

CONF = resources.files("treereason.conf")


def conf(file: str) -> dict[str, Any]:
    values = OmegaConf.create((CONF / f"{file}.yaml").read_text(encoding="utf-8"))
    return cast(dict[str, Any], OmegaConf.to_container(values))


def config(**changes: Any) -> dict[str, Any]:
    return {"task": {"name": "sorting"}, "search": {"name": "best_of_n"}, "model": {"name": "embedded"}, **changes}


def test_defaults_in_yaml_and_in_code_agree() -> None:
    values = conf("config")
    for key in ("defaults", "hydra"):
        del values[key]
    engine = values.pop("engine")
    coded = parse(config()).model_dump()
    assert values == {key: coded[key] for key in values}
    assert engine == EngineConfig().model_dump()
    assert set(values) | {"engine", "task", "search", "model"} == set(Config.model_fields)


@pytest.mark.parametrize("choice", help_text.choices("model"))
def test_every_model_file_sets_every_field(choice: str) -> None:
    values = conf(f"model/{choice}")
    model = parse(config(model={**values, "name": "somewhere"})).model
    assert set(values) == set(type(model).model_fields)
    assert model.name == "somewhere"


@pytest.mark.parametrize("kind", ["task", "search"])
def test_every_shipped_choice_is_a_file_and_every_file_builds_its_class(kind: plugins.Kind) -> None:
    assert set(help_text.choices(kind)) == set(plugins.BUILTIN[kind])
    build = {"task": plugins.task, "search": plugins.search}[kind]
    for choice in help_text.choices(kind):
        values = conf(f"{kind}/{choice}")
        assert values["name"] == choice
        built = build(values)
        assert dataclasses.is_dataclass(built)
        fields = {field.name: getattr(built, field.name) for field in dataclasses.fields(built)}
        assert values == {"name": choice, **fields}, f"{kind}/{choice}.yaml and its class differ"


@pytest.mark.parametrize("choice", help_text.choices("task"))
def test_every_shipped_task_names_a_scorer_that_loads(choice: str) -> None:
    task = plugins.task({"name": choice})
    scorer = plugins.scorer(None, task)
    assert plugins.load(plugins.scorer_reference(None, task)) is scorer


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temperature": -0.1}, "temperature=-0.1: should be greater than or equal to 0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": True}, "seed=True"),
        ({"seed": "zero"}, "seed=zero"),
        ({"display": "fancy"}, "display=fancy: should be 'auto'"),
        ({"baseline": "beam"}, "baseline=beam"),
        ({"scorer_timeout_s": 0.0}, "scorer_timeout_s=0.0"),
        ({"scorer": ""}, "scorer="),
        ({"engine": {"max_branches": 0}}, "engine.max_branches=0"),
        ({"engine": {"kv_tokens": 0}}, "engine.kv_tokens=0"),
        ({"engine": {"kv_tokens": 10**11}}, "engine.kv_tokens=100000000000: should be less than or equal to 268435456"),
        ({"engine": {"threads": 999_999}}, "engine.threads=999999: should be less than or equal to 1024"),
        ({"engine": {"branches": 1}}, "no option is called engine.branches"),
        ({"model": {"name": "x", "device": "tpu"}}, "model.device=tpu"),
        ({"model": {"name": "x", "dtype": "int8"}}, "model.dtype=int8"),
        ({"model": {}}, "model.name is missing"),
        ({"model": {"name": "x", "url": "localhost:8000"}}, "model.url=localhost:8000"),
        ({"model": {"name": "x", "url": "http://me:secret@host/v1"}}, "model.url="),
        ({"model": {"name": "x", "url": "http://host/v1", "style": "chat"}}, "model.style=chat: prompts go to"),
        ({"model": {"name": "x", "url": "http://host/v1", "dtype": "auto"}}, "no option is called model.dtype"),
        ({"model": {"url": "http://host/v1"}}, "model.name is missing"),
        ({"task": "sorting"}, "task=sorting"),
        ({"speed": 1}, "no option is called speed"),
    ],
)
def test_mistakes_are_named_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(config(**changes))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        ("search", {"name": "tree_of_thoughts", "k": 0}, "search.k=0: should be greater than or equal to 1"),
        ("search", {"name": "tree_of_thoughts", "k": True}, "search.k=true"),
        ("search", {"name": "tree_of_thoughts", "k": 1.5}, "search.k=1.5"),
        ("search", {"name": "tree_of_thoughts", "kk": 2}, "search.kk: tree_of_thoughts has no such option"),
        ("search", {"name": "best_of"}, "did you mean best_of_n?"),
        ("task", {"name": "sort"}, "did you mean sorting?"),
        ("task", {"name": "sorting", "limit": 0}, "task.limit=0"),
        ("task", {}, "task.name is missing"),
    ],
)
def test_parameters_of_plugins_are_checked(kind: plugins.Kind, params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=r"^.*$") as caught:
        {"task": plugins.task, "search": plugins.search}[kind](params)
    assert said in str(caught.value)


def test_nearest_suggests_or_lists() -> None:
    assert nearest("sortin", ["sorting", "few_shot"]) == "did you mean sorting?"
    assert nearest("zzz", ["sorting", "few_shot"]) == "it may be sorting, few_shot"


MINE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated
from pydantic import Field
from treereason.core import Score, UserError
from treereason.tasks.base import BaseTask

@dataclass(frozen=True)
class Mine(BaseTask):
    words: Annotated[int, Field(ge=1)] = 2
    must: str = ""
    scorer = "loud"

    def __post_init__(self):
        if self.must == "bad":
            raise UserError("task.must=bad: is bad")

def loud(thought):
    return 1.0

NUMBER = 3
LOADS = []
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my task.py"
    path.write_text(MINE)
    return path


def test_a_users_file_gives_task_and_scorer(mine: Path) -> None:
    task = plugins.task({"name": str(mine), "words": 5})
    assert getattr(task, "words") == 5  # noqa: B009
    assert type(plugins.task({"name": f"{mine}:Mine"})) is type(task)  # executed once
    reference = plugins.scorer_reference(None, task)
    assert reference == f"{mine}:loud"
    assert plugins.scorer(f"{mine}:loud", plugins.task({"name": "sorting"})) is plugins.load(reference)
    assert plugins.defaults(type(task)) == {"path": None, "limit": None, "words": 2, "must": ""}


def test_references_do_not_depend_on_the_folder(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    assert plugins.absolute(f"./{mine.name}:loud") == f"{mine}:loud"
    assert plugins.absolute("package.module:name") == "package.module:name"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"words": 0}, "task.words=0: should be greater"),
        ({"word": 1}, "task.word: "),
        ({"must": "bad"}, "task.must=bad: is bad"),
    ],
)
def test_parameters_of_a_users_task_are_checked(mine: Path, params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        plugins.task({"name": str(mine), **params})
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("source", "reference", "said"),
    [
        ("def f(:", ":f", "does not import: line 1: SyntaxError"),
        ("x = 1\nimport not_there_at_all", ":f", "does not import: line 2: ModuleNotFoundError"),
        ("raise SystemExit", ":f", "does not import: line 1: SystemExit"),
        ("def near(t): return 1.0", ":nea", "has no nea; did you mean near?"),
        ("def near(t): return 1.0", "", "say which name"),
        ("near = 3", ":near", "is no function, but int"),
        (None, ":near", "no such file"),
    ],
)
def test_scorers_that_cannot_be_had(tmp_path: Path, source: str | None, reference: str, said: str) -> None:
    path = tmp_path / "scorers.py"
    if source is not None:
        path.write_text(source)
    with pytest.raises(UserError) as caught:
        plugins.scorer(f"{path}{reference}", plugins.task({"name": "sorting"}))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_scorer_of_a_task_gets_the_nearest_one() -> None:
    with pytest.raises(UserError, match="did you mean sorting_errors"):
        plugins.scorer("sorting_error", plugins.task({"name": "sorting"}))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", "the file has no class with problems and prompt"),
        ("class A:\n def problems(self): ...\n def prompt(self): ...\nclass B(A): ...", "more than one class"),
        ("class A:\n n: int = 1\n def problems(self): ...\n def prompt(self): ...", "write @dataclass above"),
    ],
)
def test_files_without_one_usable_class(tmp_path: Path, source: str, said: str) -> None:
    path = tmp_path / "tasks.py"
    path.write_text(source)
    with pytest.raises(UserError, match=said):
        plugins.task({"name": str(path)})


def test_a_class_without_fields_needs_no_dataclass(tmp_path: Path) -> None:
    path = tmp_path / "search.py"
    path.write_text("class A:\n    async def run(self, tree): ...")
    assert type(plugins.search({"name": str(path)})).__name__ == "A"


def test_help_names_every_option_with_a_meaning() -> None:
    text = help_text.text()
    files = ["config", *(f"{group}/{choice}" for group in help_text.GROUPS for choice in help_text.choices(group))]
    for file in files:
        prefix = file.partition("/")[0] if "/" in file else ""
        keys = {option.key: option for option in help_text.options(file, prefix)}
        for key in _keys({k: v for k, v in conf(file).items() if k not in ("defaults", "hydra")}, prefix):
            assert key in keys, f"{file}: {key}"
            if key not in ("task.name", "search.name"):
                assert keys[key].meaning, f"{file}: {key} has no comment"
                assert f"{key}={keys[key].default}" in text
    assert max(map(len, text.splitlines())) <= 140


def _keys(values: dict[str, Any], prefix: str) -> list[str]:
    found = []
    for name, value in values.items():
        key = f"{prefix}.{name}" if prefix else name
        found.extend(_keys(value, key) if isinstance(value, dict) else [key])
    return found
