"""Tab completion through hydra's machinery: options of the chosen class, built in or the user's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Runs
from treereason.cli.help import files
from treereason.cli.main import main


@pytest.fixture
def completed(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[str], set[str]]:
    """What is offered behind a line, as hydra's function in bash asks for it."""

    def complete(line: str) -> set[str]:
        monkeypatch.setenv("COMP_LINE", f"treereason {line}")
        assert main(["-sc", "query=bash"]) == 0
        assert runs == []
        return set(capfd.readouterr().out.split())

    return complete


def test_the_options_of_the_chosen_class(completed: Callable[[str], set[str]]) -> None:
    own = {f"search.{name}=" for name in ("k", "b", "steps", "generate", "evaluate", "n_vote", "select", "temperature")}
    assert completed("search.") == {"search.name=", *own}
    assert completed("search=best_of_n search.") == {"search.name=", "search.n=", "search.aggregate="}
    assert completed("task=few_shot task.o") == {"task.operations="}
    assert completed("engine.kv") == {"engine.kv_tokens=", "engine.kv_gib="}
    assert completed("search.k=") == {"search.k=5"}


def test_choices_and_groups(completed: Callable[[str], set[str]]) -> None:
    assert completed("search=t") == {"search=tree_of_thoughts"}
    assert completed("sea") == {"search="} | completed("search")
    assert completed("+experiment=q") == {"+experiment=quickstart"}
    assert completed("+experiment=got/s") == {
        f"+experiment=got/{n}" for n in ("set_intersection", "sorting_032", "sorting_128")
    }
    assert completed("+experiment=") == {f"+experiment={name}" for name in files("experiment")}


def test_the_options_of_a_users_class(completed: Callable[[str], set[str]]) -> None:
    assert completed("search=./mine.py:Wide search.") == {"search.name=", "search.width="}
    assert completed("task=./mine.py:Shout search=best_of_n task.w") == {"task.words="}
    assert completed("task=./broken.py task.") == set()


@pytest.mark.usefixtures("runs")
def test_bash_gets_a_function_to_install(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--shell-completion", "install=bash"]) == 0
    assert "-sc query=bash" in capfd.readouterr().out
