"""A mistake in Python is one clear line, and the defaults are those of the command line."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import treereason as tr
from tests.from_python.driving import run
from treereason.config.schema import BudgetConfig, Config, EngineConfig
from treereason.engine.model.language_model import LanguageModel


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature=-1: should be greater than or equal to 0"),
        ({"seed": True}, "seed=True: should be a valid integer"),
        ({"budget_tokens": 0}, "budget.tokens=0: should be greater than or equal to 1"),
        ({"kv_tokens": 9, "kv_gib": 1.0}, "give engine.kv_tokens or engine.kv_gib, not both"),
        ({"kv_gib": 60_000.0}, "engine.kv_gib=60000: more than 268,435,456 tokens of KV"),
        ({"display": "loud"}, "display=loud: should be 'auto', 'rich', 'plain', 'json' or 'none'"),
        ({"scorer": "sorting_error"}, "did you mean sorting_errors?"),
        ({"task": tr.tasks.Sorting(length=1)}, "task.length=1: should be greater than or equal to 2"),
        ({"task": tr.tasks.Sorting(limit="3")}, "task.limit=3: should be a valid integer"),  # type: ignore[arg-type]
        ({"task": tr.tasks.Sorting(path="nowhere.csv")}, "no such file: nowhere.csv"),
        ({"task": tr.tasks.Sorting}, "task=Sorting: this is the class; make one: Sorting()"),
        ({"task": "sorting"}, "task='sorting': not a task, because it has no method problems"),
        ({"search": tr.search.BestOfN(n=True)}, "search.n=True: should be a valid integer"),
        ({"search": tr.search.Recorded()}, "a recorded search needs both task=recorded and search=recorded"),
    ],
)
def test_a_mistake_is_one_clear_line(model: LanguageModel, options: dict[str, Any], message: str) -> None:
    with pytest.raises(tr.UserError, match=re.escape(message)) as caught:
        run(model, **options)
    assert "\n" not in str(caught.value)


def test_two_sizes_of_the_kv_memory_are_refused_without_all_other_options(model: LanguageModel) -> None:
    with pytest.raises(tr.UserError, match=r"^give engine\.kv_tokens or engine\.kv_gib, not both$"):
        run(model, kv_tokens=9, kv_gib=1.0)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("http://127.0.0.1:1/v1",), {}, "say which model of the server with name="),
        (("http://127.0.0.1:1/v1",), {"name": "x"}, "the server cannot be reached"),
        (("http://127.0.0.1:1/v1",), {"name": "x", "style": "chat"}, "the server cannot be reached"),
        (
            ("http://127.0.0.1:1/v1",),
            {"name": "x", "style": "chat", "endpoint": "completions"},
            "plain text; use plain",
        ),
        (("nowhere/./at/all",), {}, "model.name=nowhere/./at/all: "),
        (("embedded",), {"dtype": "int3"}, "model.dtype=int3: should be 'auto', 'float32', 'bfloat16' or 'float16'"),
        (("embedded",), {"concurrency": 3}, "no option is called model.concurrency"),
    ],
)
def test_a_model_that_cannot_be_loaded_says_why(
    arguments: tuple[str], options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(tr.UserError, match=re.escape(message)):
        tr.load(*arguments, **options)


def test_a_run_wants_a_loaded_model() -> None:
    with pytest.raises(tr.UserError, match=r"model='embedded': give what treereason\.load returns"):
        run("embedded")


def test_the_defaults_are_those_of_the_configuration_but_for_the_display() -> None:
    given = {name: each.default for name, each in inspect.signature(tr.run).parameters.items()}
    given_by_group = ("confidence", "judge", "reward", "draft")  # scorer_options, and draft
    for name, field in (Config.model_fields | EngineConfig.model_fields).items():
        # plugins: Python imports itself; cpu: of `load`, there; workers: of the command line alone
        own = ("task", "search", "model", "plugins", "engine", "budget", "display", "cpu", "workers", "launcher")
        if name not in (*own, *given_by_group):
            assert given[name] == field.default, name
    for name, field in BudgetConfig.model_fields.items():
        assert given[f"budget_{name}"] == field.default
    assert given["display"] == "none"
