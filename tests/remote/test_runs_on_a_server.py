"""Whole runs from the command line on a completions server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import wait_until
from tests.remote.driving import KEY, SEARCHES, lines, run
from tests.remote.fake_server import HANG_S, FakeServer
from treereason import events
from treereason.cli.main import main
from treereason.record.journal import read
from treereason.remote.dialect import TRIAL


def of_kind(folder: Path, kind: type[events.Event]) -> list[Any]:
    return [event for event in read(folder / "journal.sqlite") if isinstance(event, kind)]


@pytest.mark.parametrize("search", SEARCHES)
def test_tasks_and_searches_run_to_the_end(fake: FakeServer, tmp_path: Path, search: str) -> None:
    summary = run(fake, tmp_path, *SEARCHES[search])
    assert (summary["problems_done"], summary["failed"]) == (4, 0)
    assert summary["repeats"] == "as far as the server keeps to its seed"
    assert len(lines(tmp_path)) == summary["greedy_problems_done"] == 4
    if search != "document_merging":  # which the fake model cannot do
        assert summary["solved"] == summary["greedy_solved"] == 4
    assert {request["model"] for request in fake.requests} == {"fake"}
    for key in ("tokens_decoded", "tokens_prefilled"):
        assert summary[key] == sum(line[key] for line in lines(tmp_path)) > 0


def test_nothing_is_claimed_about_kv(fake: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = run(fake, tmp_path, *SEARCHES["few_shot"], "display=plain")
    assert summary["kv_read_ratio"] is None
    assert summary["tokens_reused"] == summary["kv_tokens_peak"] == 0
    assert "KV" not in capsys.readouterr().out.partition("done: ")[2]


def test_a_line_is_continued_behind_its_line_end(fake: FakeServer, tmp_path: Path) -> None:
    run(fake, tmp_path, *SEARCHES["line by line"], "task.limit=1", "baseline=none")
    asked = [request["prompt"] for request in fake.requests if request["prompt"] != TRIAL]
    prompts = [prompt.rpartition("\nSteps:\n")[2] for prompt in asked]
    assert prompts[0] == ""
    assert all(re.fullmatch(r"=-?\d+\+0\n(=-?\d+\n)?", prompt) for prompt in prompts[1:])


def test_one_seed_gives_one_result_in_whatever_order_answers_come(fake: FakeServer, tmp_path: Path) -> None:
    search = [*SEARCHES["sorting"], "model.concurrency=4", "task.limit=6"]
    run(fake, tmp_path / "a", *search)
    fake.delay = lambda request: request["seed"] % 7 / 100
    run(fake, tmp_path / "b", *search)
    run(fake, tmp_path / "c", *search, "seed=1")
    a, b, c = ((tmp_path / name / "results.jsonl").read_bytes() for name in "abc")
    assert a == b != c


def test_thoughts_fail_with_the_servers_words_and_the_run_goes_on(fake: FakeServer, tmp_path: Path) -> None:
    fake.always = 500, json.dumps({"error": {"message": f"out of\nmemory, key {KEY}"}})
    summary = run(fake, tmp_path, *SEARCHES["few_shot"], "model.max_retries=0", "baseline=none", code=3)
    said = "the server answered 500: out of memory, key ***"
    assert {event.error for event in of_kind(tmp_path, events.ThoughtFailed)} == {said}
    assert summary["failed"] == 4
    assert {line["error"] for line in lines(tmp_path)} == {said}
    assert len([request for request in fake.requests if request["prompt"] != TRIAL]) == 4


def test_the_key_is_sent_and_written_nowhere(fake: FakeServer, tmp_path: Path) -> None:
    fake.scripted.append((400, {}, f"bad key {KEY}"))
    run(fake, tmp_path, *SEARCHES["few_shot"])
    assert set(fake.keys) == {f"Bearer {KEY}"}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "journal.sqlite" for path in files)
    assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_no_key_is_sent_unless_there_is_one(fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(fake, tmp_path / "a", "model.api_key_env=null", "task.limit=1")
    monkeypatch.delenv("OPENAI_API_KEY")
    run(fake, tmp_path / "b", "task.limit=1")
    assert set(fake.keys) == {None}


def test_ctrl_c_closes_connections_and_keeps_what_is_done(fake: FakeServer, tmp_path: Path) -> None:
    def real() -> list[Any]:
        return [request for request in fake.requests if request["prompt"] != TRIAL]

    fake.delay = lambda request: HANG_S if request in real()[6:] else 0.0

    def interrupt() -> None:
        results = tmp_path / "results.jsonl"
        fake.wait_until(lambda fake: fake.in_flight == 2 and len(real()) == 8)
        wait_until(lambda: results.exists() and results.read_text() != "")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    overrides = [*SEARCHES["few_shot"], "task.limit=100", "model.concurrency=2"]
    summary = run(fake, tmp_path, *overrides, code=130)
    assert summary["status"] == "interrupted"
    assert len(lines(tmp_path)) == summary["problems_done"] > 0
    fake.wait_until(lambda fake: fake.num_closed >= 2 and not fake.in_flight)


def test_a_problem_out_of_time_gives_up_its_requests(fake: FakeServer, tmp_path: Path) -> None:
    fake.delay = lambda _: HANG_S
    overrides = [*SEARCHES["few_shot"], "budget.seconds=0.5", "baseline=none", "model.concurrency=2"]
    summary = run(fake, tmp_path, *overrides, code=3)
    assert summary["failed"] == 4
    assert all("budget.seconds" in line["error"] for line in lines(tmp_path))
    num_real = sum(request["prompt"] != TRIAL for request in fake.requests)
    fake.wait_until(lambda fake: fake.num_closed == num_real and not fake.in_flight)


def test_a_scorer_sees_that_a_logprob_is_unknown(fake: FakeServer, tmp_path: Path) -> None:
    scorer = tmp_path / "mine.py"
    scorer.write_text("def likely(thought):\n    return thought.logprob\n")
    overrides = ["task=few_shot", "search=best_of_n", "search.n=2", f"scorer={scorer}:likely", "baseline=none"]
    assert run(fake, tmp_path / "told", *overrides)["failed"] == 0
    fake.logprobs = False
    run(fake, tmp_path / "untold", *overrides, code=3)
    decoded = of_kind(tmp_path / "untold", events.ThoughtDecoded)
    assert {event.logprob for event in decoded} == {None}
    errors = {event.error for event in of_kind(tmp_path / "untold", events.ThoughtFailed)}
    assert errors == {"scorer: scorer returned None, not a finite number"}


def test_a_token_budget_that_the_server_gives_no_counts_for_is_refused(fake: FakeServer, tmp_path: Path) -> None:
    fake.logprobs = fake.usage = False
    summary = run(fake, tmp_path, *SEARCHES["few_shot"], "budget.tokens=40", "baseline=none", code=3)
    assert summary["failed"] == 4
    assert all("budget.tokens cannot be kept" in line["error"] for line in lines(tmp_path))


@pytest.mark.parametrize("told", ["logprobs", "usage"])
def test_a_token_budget_is_kept_by_either_count(fake: FakeServer, tmp_path: Path, told: str) -> None:
    setattr(fake, {"logprobs": "usage", "usage": "logprobs"}[told], False)
    run(fake, tmp_path, *SEARCHES["few_shot"], "budget.tokens=40", "baseline=none")
    assert all(0 < line["tokens_decoded"] <= 40 for line in lines(tmp_path))


def test_tokens_that_nobody_counts_are_named_once(
    fake: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.logprobs = fake.usage = False
    assert run(fake, tmp_path, *SEARCHES["few_shot"], "baseline=none")["tokens_decoded"] == 0
    warnings = [r.message for r in caplog.records if r.name == "treereason.remote.completions"]
    assert warnings == ["the server tells neither usage nor logprobs: its decoded tokens count as 0"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_it_before_the_run(
    fake: FakeServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], status: int
) -> None:
    fake.models_status = status
    assert main(["model=openai", "model.name=x", f"model.url={fake.url}", f"hydra.run.dir={tmp_path}"]) == 2
    error = capfd.readouterr().err
    assert f"the server refuses the key: the server answered {status}" in error
    assert "model.api_key_env" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "journal.sqlite").exists()


@pytest.mark.parametrize("path", ["/v1", "/v1/"])
def test_a_server_that_cannot_be_reached_is_one_line_and_code_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], path: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}{path}"
    assert main(["model=openai", "model.name=x", f"model.url={url}", "display=none", f"hydra.run.dir={tmp_path}"]) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"treereason: error: model.url={url.rstrip('/')}: the server cannot be reached: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "journal.sqlite").exists()


def test_a_missing_package_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "treereason.remote.server")
    monkeypatch.setitem(sys.modules, "httpx", None)
    assert main(["model=openai", "model.name=x", "display=none", f"hydra.run.dir={tmp_path}"]) == 2
    assert capfd.readouterr().err == "treereason: error: model=openai needs httpx: pip install 'treereason[remote]'\n"


@pytest.mark.parametrize("options", [["scorer=self_certainty"], ["engine.token_statistics=true"]])
def test_what_needs_whole_distributions_is_refused_by_name(
    fake: FakeServer, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = [f"hydra.run.dir={tmp_path}", "model=openai", "model.name=fake", f"model.url={fake.url}"]
    assert main([*command, "task=few_shot", "search=best_of_n", *options]) == 2
    said = capsys.readouterr().err
    assert f"error: {options[0]}: needs the whole distribution of each token, and a server does not tell it" in said


def test_likelihood_needs_no_more_than_a_server_tells(fake: FakeServer, tmp_path: Path) -> None:
    summary = run(fake, tmp_path, *SEARCHES["few_shot"], "search=best_of_n", "scorer=likelihood", "baseline=none")
    assert (summary["failed"], summary["guided_by_basis"]) == (0, ["label_free"])


def test_what_a_server_leaves_out_by_default_is_told(
    fake: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "import treereason as tr\nclass Lines(tr.tasks.FewShot):\n    spans = tr.SpanGrammar(labels=('a',))\n"
    )
    task = [f"task={tmp_path}/mine.py:Lines", "task.limit=1", "search=best_of_n", "search.n=2", "baseline=none"]
    told = run(fake, tmp_path / "auto", *task, "speculative=auto", "display=plain")
    assert told["spans"] == "none: a server cannot be told what a token sees, so each sees everything"
    assert told["speculative"] == {"why": "none: a server decodes by itself"}
    shown = capsys.readouterr().out
    assert re.search(f"spans +{told['spans']}", shown)
    assert re.search("drafts +none: a server decodes by itself", shown)
    off = run(fake, tmp_path / "off", *task, "engine.spans=off")
    assert not {"spans", "speculative"} & set(off)
