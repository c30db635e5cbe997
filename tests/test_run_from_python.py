"""`treereason.load` and `treereason.run`, as a script or notebook uses them."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.utils.logging import is_progress_bar_enabled

import treereason as tr
from tests.fakes import ROOT
from tests.importable import Shout, by_process, raises
from treereason.cli.main import main
from treereason.config.schema import BudgetConfig, Config, EngineConfig
from treereason.engine.model.language_model import LanguageModel
from treereason.events import RunStarted
from treereason.record import read

TASK = tr.tasks.Sorting(length=12, limit=3)
SEARCH = tr.search.TreeOfThoughts(k=3)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return tr.load("embedded")


def run(model: Any, task: Any = TASK, search: Any = SEARCH, **options: Any) -> tr.Run:
    return tr.run(task, search, model, **{"baseline": "none", **options})


def answers(run: tr.Run) -> list[Any]:
    return [(problem.id, problem.answer, problem.score, problem.tokens_decoded) for problem in run.problems]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_a_run_holds_the_numbers_and_files_of_the_command_line(model: LanguageModel, tmp_path: Path) -> None:
    typed, python = tmp_path / "typed", tmp_path / "python"
    options = ["task=sorting", "task.length=12", "task.limit=3", "search.k=3", "seed=5", "temperature=1.2"]
    assert main([*options, "display=none", f"hydra.run.dir={typed}"]) == 0
    run = tr.run(TASK, SEARCH, model, seed=5, temperature=1.2, folder=python)
    assert (typed / "results.jsonl").read_bytes() == (python / "results.jsonl").read_bytes()
    assert run.folder == python
    assert (python / "journal.sqlite").is_file()
    summary = json.loads((typed / "summary.json").read_text())
    assert summary == json.loads((python / "summary.json").read_text()) | {
        name: summary[name] for name in ("seconds", "tokens_per_second")
    }
    assert run.summary["greedy_mean_score"] == summary["greedy_mean_score"]
    assert (run.solved, run.failed, run.mean_score) == (summary["solved"], summary["failed"], summary["mean_score"])
    for problem, line in zip(run.problems, lines(typed), strict=True):
        assert list(problem.best.path if problem.best else ()) == line.pop("best")
        for name, value in line.items():
            got = getattr(problem, name)
            assert (list(got) if isinstance(got, tuple) else got) == value, name


def test_a_result_gives_the_thoughts_themselves(model: LanguageModel) -> None:
    [first, *_] = run(model).problems
    assert first.best in first.thoughts
    assert first.best is not None
    assert first.best.answer == first.answer == sorted(first.input) == first.target
    assert first.best.text in first.best.transcript()
    assert len(first.thoughts) == 3
    assert {thought.status for thought in first.thoughts} == {tr.Status.KEPT, tr.Status.PRUNED}
    assert sum(thought.cost.tokens_decoded for thought in first.thoughts) == first.tokens_decoded


def test_a_run_and_its_results_are_shown_in_one_line(model: LanguageModel) -> None:
    result = run(model)
    assert re.fullmatch(r"<Run tree_of_thoughts on sorting: 3 of 3 solved, mean score 0, \d+\.\d s>", repr(result))
    assert repr(result.problems[0]).startswith("<ProblemResult 0: solved, score 0.0, answer [")
    assert "\n" not in repr(result.problems[0])


def test_nothing_is_written_or_left_changed(
    model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebook", "--no-such-flag"])
    before, others = state(), children()
    run(tr.load("embedded"), display="rich")
    assert state() == before
    assert list(tmp_path.iterdir()) == []
    assert children() == others
    run(model)
    assert state() == before
    assert "display=rich needs a terminal" in capfd.readouterr().out


def state() -> dict[str, Any]:
    """What a library may not leave changed."""
    loggers = {name: log for name, log in logging.root.manager.loggerDict.items() if isinstance(log, logging.Logger)}
    chosen = {name: log for name, log in loggers.items() if name.startswith(("transformers", "huggingface", "torch"))}
    return {
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "loggers": {name: (log.level, log.disabled, list(log.handlers)) for name, log in chosen.items()},
        "root": (logging.root.level, list(logging.root.handlers)),
        "bars": is_progress_bar_enabled(),
        "threads": torch.get_num_threads(),
        "arguments": list(sys.argv),
        "streams": (sys.stdout, sys.stderr),
    }


def children() -> set[str]:
    """Ids of the processes that this one has started and that still run, those of earlier tests included."""
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())


def test_two_runs_and_one_in_another_thread_give_the_same(model: LanguageModel) -> None:
    first, second = run(model), run(model)
    third: list[tr.Run] = []
    thread = threading.Thread(target=lambda: third.append(run(model)))
    thread.start()
    thread.join()
    assert answers(first) == answers(second) == answers(third[0])
    assert answers(run(model, seed=1)) != answers(first)


def test_a_running_asyncio_loop_does_not_matter(model: LanguageModel) -> None:
    async def cell() -> tr.Run:
        return run(model)

    assert answers(asyncio.run(cell())) == answers(run(model))


def test_a_server_answers_run_after_run_also_under_a_running_loop(server: str) -> None:
    remote = tr.load(server, name="any")

    async def cell() -> tr.Run:
        return run(remote)

    first, second = run(remote), asyncio.run(cell())
    assert answers(first) == answers(second)
    assert (first.solved, first.failed) == (3, 0)
    assert second.problems[0].best is not None


def test_the_record_holds_the_options_of_the_server(server: str, tmp_path: Path) -> None:
    remote = tr.load(server, name="any", concurrency=3, timeout_s=7.0, max_retries=1)
    run(remote, folder=tmp_path)
    started = next(event for event in read(tmp_path / "journal.sqlite") if isinstance(event, RunStarted))
    given = {"name": "any", "url": server, "style": "plain", "concurrency": 3, "timeout_s": 7.0, "max_retries": 1}
    assert started.config["model"].items() >= given.items()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a completions server that sorts the last list of a prompt."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    http = ThreadingHTTPServer(("127.0.0.1", 0), Sorter)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    http.shutdown()
    thread.join()
    http.server_close()


class Sorter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = f" {sorted(json.loads(re.findall(r'Given: (.*)', request['prompt'])[-1]))}"
        choice = {"text": text, "finish_reason": "stop", "stop_reason": None}
        usage = {"prompt_tokens": 1, "completion_tokens": request["n"]}
        self.answer({"choices": [choice | {"index": i} for i in range(request["n"])], "usage": usage})

    def answer(self, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Interrupted:
    """A search that is interrupted once the process that scores is at work.

    others: the processes that ran before.
    """

    def __init__(self, others: set[str]) -> None:
        self.others = others

    async def run(self, tree: tr.Tree) -> tr.Thought | None:
        await tree.score(await tree.expand([tree.root], 1))
        assert len(children() - self.others) == 1
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the interrupt was swallowed")


def test_ctrl_c_is_a_keyboard_interrupt_and_leaves_no_process_behind(model: LanguageModel) -> None:
    others = children()
    with pytest.raises(KeyboardInterrupt):
        run(model, search=Interrupted(others))
    assert children() == others


class Judge:
    """A scorer with a state of its own."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, _: tr.Thought) -> float:
        self.seen += 1
        return 0.25


def test_a_scorer_that_can_be_imported_runs_in_a_process_of_its_own(model: LanguageModel) -> None:
    found = run(model, scorer=by_process)
    scores = {problem.score for problem in found.problems}
    assert len(scores) == 1
    assert os.getpid() not in scores
    assert found.summary["scorer"] == "by_process"


def test_scorers_that_no_other_process_can_import_run_here(model: LanguageModel) -> None:
    seen: list[tr.Thought] = []

    def closure(thought: tr.Thought) -> tr.Score:
        seen.append(thought)
        return tr.Score(os.getpid())

    found = run(model, scorer=closure)
    assert {problem.score for problem in found.problems} == {os.getpid()}
    assert seen[0] in found.problems[0].thoughts
    assert run(model, scorer=lambda _: 0.5).mean_score == 0.5
    judge = Judge()
    assert run(model, scorer=judge).mean_score == 0.25
    assert judge.seen == 36, "four steps of three thoughts for three problems"
    assert run(model, scorer=Judge).summary["scorer"] == "Judge"


@pytest.mark.parametrize("in_this_process", [False, True])
def test_a_scorer_that_raises_fails_its_thoughts_wherever_it_runs(model: LanguageModel, in_this_process: bool) -> None:
    found = run(model, scorer=(lambda thought: raises(thought)) if in_this_process else raises)
    assert found.failed == 3
    assert found.problems[0].error == "scorer: LookupError: no such list"
    assert repr(found.problems[0]) == "<ProblemResult 0: failed: scorer: LookupError: no such list>"


def test_a_scorer_can_be_a_name_or_a_file(model: LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "halves.py").write_text("def half(thought):\n    return 0.5\n")
    assert run(model, scorer=f"{tmp_path}/halves.py:half").mean_score == 0.5
    assert answers(run(model, scorer="sorting_errors")) == answers(run(model))


def test_closures_may_be_batch_or_async_scorers(model: LanguageModel) -> None:
    async def asked(_: tr.Thought, tree: tr.Tree) -> float:
        return float(tree.cost.tokens_decoded > 0)

    assert run(model, scorer=lambda thoughts: [len(thoughts)] * len(thoughts)).mean_score == 3
    assert run(model, scorer=asked).mean_score == 1


NOTEBOOK = """
import asyncio
from dataclasses import dataclass
import treereason as tr

@dataclass(frozen=True)
class Shout(tr.tasks.BaseTask):
    scorer = "loud"
    templates = {"embedded": {"solve": tr.tasks.Template("sort {digits}=")}}
    def generate(self, rng):
        return {"digits": str(rng.randrange(10**6))}, ""

def loud(thought):
    return len(thought.text) + calls.append(thought.path)[-1]

class Calls(list):
    def append(self, path):
        super().append(path)
        return [0.5]

calls = Calls()

async def cell():
    return tr.run(Shout(limit=2), tr.search.BestOfN(n=2), tr.load("embedded"), baseline="none")

run = asyncio.run(cell())
print(run.failed, len(calls), [problem.score - len(problem.best.text) for problem in run.problems])
"""


def test_what_a_notebook_defines_needs_no_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-"],
        input=NOTEBOOK,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 4 [0.5, 0.5]\n"


def test_the_number_of_cpu_threads_is_that_of_the_run_and_then_as_before(model: LanguageModel) -> None:
    seen = []

    def threads(_: tr.Thought) -> float:
        seen.append(torch.get_num_threads())
        return 0.0

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(model, scorer=threads)
        assert set(seen) == {1}, "the embedded model is too small for more"
        assert torch.get_num_threads() == 2
        run(model, scorer=threads, threads=3)
        assert set(seen) == {1, 3}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_task_and_search_of_ones_own_need_no_registration(model: LanguageModel) -> None:
    @dataclass
    class First:
        given: Callable[[], int]  # what no configuration could hold

        async def run(self, tree: tr.Tree) -> tr.Thought | None:
            [thought] = await tree.expand([tree.root], self.given())
            await tree.score([thought])
            return thought

    found = run(model, task=Shout(limit=2), search=First(lambda: 1))
    assert (found.summary["task"], found.summary["search"], found.summary["scorer"]) == ("Shout", "First", "loud")
    assert all(problem.best and problem.score == len(problem.best.text) for problem in found.problems)


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


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("http://127.0.0.1:1/v1",), {}, "say which model of the server with name="),
        (("http://127.0.0.1:1/v1",), {"name": "x"}, "the server cannot be reached"),
        (("http://127.0.0.1:1/v1",), {"name": "x", "style": "chat"}, "plain text; use plain"),
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
    given_by_group = ("confidence", "judge", "reward")  # scorer_options
    for name, field in (Config.model_fields | EngineConfig.model_fields).items():
        own = ("task", "search", "model", "plugins", "engine", "budget", "display")  # plugins: Python imports itself
        if name not in (*own, *given_by_group):
            assert given[name] == field.default, name
    for name, field in BudgetConfig.model_fields.items():
        assert given[f"budget_{name}"] == field.default
    assert given["display"] == "none"


def test_plain_lines_do_not_name_commands(model: LanguageModel, capsys: pytest.CaptureFixture[str]) -> None:
    run(model, display="plain")
    out = capsys.readouterr().out
    assert "[3/3] 2: solved" in out
    assert "next:" not in out
    assert "results" not in out


def test_two_runs_do_not_write_into_one_folder(model: LanguageModel, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from treereason.record.folder import folder_lock\n"
        "with folder_lock(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(tr.UserError, match="another run is at work there"):
            run(model, folder=tmp_path)
        other.kill()


def test_the_engine_needs_no_more_than_a_model(model: LanguageModel) -> None:
    engine = tr.Engine(model)
    engine.submit(tr.Expansion("sort", (), tr.Prompt("sort 3120=", max_tokens=8), ((0,), (1,)), tr.Sampling(0.0)))
    decoded: list[tr.Decoded] = []
    while engine.busy:
        decoded += engine.step()[0]
    assert [child.text for child in decoded] == ["0123", "0123"]


def test_the_example_runs_as_a_script(tmp_path: Path) -> None:
    example = ROOT / "examples" / "from_python.py"
    assert len(example.read_text().splitlines()) <= 25
    done = subprocess.run(
        [sys.executable, example],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<Run best_of_n on sorting: 5 of 5 solved")
    assert list(tmp_path.iterdir()) == []
