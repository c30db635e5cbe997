"""Searches over a completions server: a real HTTP server on loopback whose model is a few lines of arithmetic."""

from __future__ import annotations

import ast
import asyncio
import gc
import json
import os
import re
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tenacity import RetryCallState

from tests.fakes import HANG_S, wait_until
from treereason import events
from treereason.cli.main import main
from treereason.core import Decoded, Expansion, Prompt, Sampling, UserError
from treereason.record.journal import read
from treereason.remote import server as remote_server
from treereason.remote.answer import RequestFailed
from treereason.remote.answer import read as read_answer
from treereason.remote.engine import RemoteEngine, request_seed
from treereason.remote.server import Server

KEY = "sk-a-key-that-nobody-may-see"
USAGE = ("prompt_tokens", "completion_tokens")


def model(prompt: str, seed: int) -> str:
    """What the fake model writes behind a prompt; every third seed makes a slip. A letter is a token."""
    slip = seed % 3 == 0
    if lists := re.findall(r"Given: (\[.*?\])", prompt):
        digits = sorted(ast.literal_eval(lists[-1]))
        return f" {digits[:-1] if slip else digits}"
    if "\nSteps:\n" in prompt:
        question, _, written = prompt.rpartition("Question: ")[2].partition("\nSteps:\n")
        value = eval(question) + slip
        whole = f"={value}+0\n={value}\nThe answer is {value}.\n"
        return whole.removeprefix(written) if whole.startswith(written) else " (lost)\n"
    return f" {seed}"


class Fake(ThreadingHTTPServer):
    """A completions server. `scripted`: (status, headers, body) of the next answers, before it does what it should.

    most_in_flight: completion requests that were open at once. closed: requests whose client went away.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.scripted: deque[tuple[int, dict[str, str], str]] = deque()
        self.always: tuple[int, str] | None = None
        self.models_status = 404
        self.max_n = 100
        self.logprobs = self.usage = True
        self.delay: Callable[[dict[str, Any]], float] = lambda _: 0.0
        self.in_flight = self.most_in_flight = self.closed = 0
        self.lock = threading.Lock()

    def completion(self, request: dict[str, Any]) -> dict[str, Any]:
        choices = []
        for index in range(min(request["n"], self.max_n)):
            text = model(request["prompt"], request["seed"] + index if request["temperature"] else 1)
            full = text[: request["max_tokens"]]
            ends = [(full.find(stop), stop) for stop in request.get("stop", ()) if stop in full]
            end, stop = min(ends, default=(len(full), None))
            tokens = full[: end + len(stop or "")]
            choice: dict[str, Any] = {"index": index, "text": full[:end], "stop_reason": stop}
            choice["finish_reason"] = "length" if len(text) > len(full) and stop is None else "stop"
            if self.logprobs:
                choice["logprobs"] = {"tokens": list(tokens), "token_logprobs": [-0.5] * len(tokens)}
            choices.append(choice)
        # Backwards, because only the index says which is which.
        num_tokens = sum(len(choice["text"]) for choice in choices)
        usage = {"prompt_tokens": len(request["prompt"]), "completion_tokens": num_tokens}
        return {"object": "text_completion", "choices": choices[::-1], **({"usage": usage} if self.usage else {})}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Fake

    def do_GET(self) -> None:
        self.server.keys.append(self.headers.get("Authorization"))
        self._answer(self.server.models_status, "{}")

    def do_POST(self) -> None:
        fake = self.server
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with fake.lock:
            fake.requests.append(request)
            fake.keys.append(self.headers.get("Authorization"))
            fake.in_flight += 1
            fake.most_in_flight = max(fake.most_in_flight, fake.in_flight)
            scripted = fake.scripted.popleft() if fake.scripted else None
        left = bool(select.select([self.connection], [], [], fake.delay(request))[0])  # readable: its end was reached
        with fake.lock:
            fake.in_flight -= 1
            fake.closed += left
        if left:
            self.close_connection = True
        elif self.path != "/v1/completions":
            self._answer(404, '{"detail": "Not Found"}')
        elif scripted is not None:
            self._answer(scripted[0], scripted[2], scripted[1])
        elif fake.always is not None:
            self._answer(*fake.always)
        else:
            self._answer(200, json.dumps(fake.completion(request)))

    def _answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = Fake()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the client would have waited before each further attempt; it does not wait."""
    asked: list[float] = []

    def pause(state: RetryCallState) -> float:
        asked.append(real(state))
        return 0.0

    real = remote_server._pause
    monkeypatch.setattr(remote_server, "_pause", pause)
    return asked


def run(fake: Fake, folder: Path, *overrides: str, code: int = 0) -> dict[str, Any]:
    common = ["model=openai", "model.name=fake", f"model.url={fake.url}", "display=none", f"hydra.run.dir={folder}"]
    assert main([*common, "task.limit=4", *overrides]) == code
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def of_kind(folder: Path, kind: type[events.Event]) -> list[Any]:
    return [event for event in read(folder / "journal.sqlite") if isinstance(event, kind)]


def expansion(k: int = 1, text: str = "x", problem: str = "0", **prompt: Any) -> Expansion:
    children = tuple((rank,) for rank in range(k))
    return Expansion(problem, (), Prompt(text, **prompt), children, Sampling(1.0))


def engine(fake: Fake, **limits: Any) -> RemoteEngine:
    return RemoteEngine(Server("fake", fake.url, style="plain", **limits), seed=0)


def drain(engine: RemoteEngine) -> list[Decoded]:
    decoded: list[Decoded] = []
    while engine.busy:
        decoded += engine.step()[0]
    return sorted(decoded, key=lambda child: (child.problem, child.path))


SEARCHES = {
    "sorting": ["task=sorting", "task.length=6", "search=tree_of_thoughts", "search.k=3", "search.steps=2"],
    "few_shot": ["task=few_shot", "search=self_consistency", "search.n=5"],
    "line by line": ["task=few_shot", "task.stepwise=true", "scorer=steps_hold", "search.k=3", "search.steps=4"],
    "document_merging": ["task=document_merging", "search=best_of_n", "search.n=2"],
}


@pytest.mark.parametrize("search", SEARCHES)
def test_tasks_and_searches_run_to_the_end(fake: Fake, tmp_path: Path, search: str) -> None:
    summary = run(fake, tmp_path, *SEARCHES[search])
    assert (summary["problems_done"], summary["failed"]) == (4, 0)
    assert len(lines(tmp_path)) == summary["greedy_problems_done"] == 4
    if search != "document_merging":  # which the fake model cannot do
        assert summary["solved"] == summary["greedy_solved"] == 4
    assert {request["model"] for request in fake.requests} == {"fake"}
    for key in ("tokens_decoded", "tokens_prefilled"):
        assert summary[key] == sum(line[key] for line in lines(tmp_path)) > 0


def test_nothing_is_claimed_about_kv(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = run(fake, tmp_path, *SEARCHES["few_shot"], "display=plain")
    assert summary["kv_read_ratio"] is None
    assert summary["tokens_reused"] == summary["kv_tokens_peak"] == 0
    assert "KV" not in capsys.readouterr().out.partition("done: ")[2]


def test_a_line_is_continued_behind_its_line_end(fake: Fake, tmp_path: Path) -> None:
    run(fake, tmp_path, *SEARCHES["line by line"], "task.limit=1", "baseline=none")
    prompts = [request["prompt"].rpartition("\nSteps:\n")[2] for request in fake.requests]
    assert prompts[0] == ""
    assert all(re.fullmatch(r"=-?\d+\+0\n(=-?\d+\n)?", prompt) for prompt in prompts[1:])


@pytest.mark.parametrize("max_n", [1, 2, 100])
def test_children_come_from_one_request_or_from_those_it_takes(fake: Fake, max_n: int) -> None:
    fake.max_n = max_n
    with engine(fake) as remote:
        remote.submit(expansion(5, "text"))
        decoded = drain(remote)
        asked = [request["n"] for request in fake.requests]
        assert asked == {1: [5, 1, 1, 1, 1], 2: [5, 1, 1, 1], 100: [5]}[max_n]
        first = request_seed(0, "0", (0,))
        seeds = [first + rank if rank < max_n else request_seed(0, "0", (rank,)) for rank in range(5)]
        assert [child.text for child in decoded] == [f" {seed}" for seed in seeds]
        bearers = range(1) if max_n == 100 else [0, *range(max_n, 5)]
        assert [child.cost.tokens_prefilled for child in decoded] == [4 * (rank in bearers) for rank in range(5)]
        # What was learnt of the server saves requests and changes nothing else.
        remote.end_problem("0")
        remote.submit(expansion(5, "text"))
        assert [(child.text, child.cost) for child in drain(remote)] == [(c.text, c.cost) for c in decoded]
        assert [request["n"] for request in fake.requests][len(asked) :] == ([1] * 5 if max_n == 1 else asked)


def test_children_at_temperature_0_are_asked_for_one_by_one(fake: Fake) -> None:
    with engine(fake) as remote:
        remote.submit(Expansion("0", (), Prompt("x"), ((0,), (1,)), Sampling(0.0)))
        assert [child.error for child in drain(remote)] == [None, None]
    assert [request["n"] for request in fake.requests] == [1, 1]


@pytest.mark.parametrize("logprobs", [True, False])
def test_costs_and_logprobs_are_each_childs_own(fake: Fake, logprobs: bool) -> None:
    fake.logprobs = logprobs
    with engine(fake) as remote:
        remote.submit(expansion(3, "Given: [3, 1, 2]\n", shared="head "))
        decoded = drain(remote)
    num_letters = [len(child.text) for child in decoded]
    assert len(set(num_letters)) == 2
    counts = [child.cost.tokens_decoded for child in decoded]
    assert sum(counts) == sum(num_letters)
    assert counts == num_letters if logprobs else max(counts) - min(counts) <= 1
    assert [child.logprob for child in decoded] == ([-0.5 * count for count in counts] if logprobs else [0.0] * 3)
    assert [child.cost.tokens_prefilled for child in decoded] == [len("head Given: [3, 1, 2]\n"), 0, 0]


def test_one_seed_gives_one_result_in_whatever_order_answers_come(fake: Fake, tmp_path: Path) -> None:
    search = [*SEARCHES["sorting"], "model.concurrency=4", "task.limit=6"]
    run(fake, tmp_path / "a", *search)
    fake.delay = lambda request: request["seed"] % 7 / 100
    run(fake, tmp_path / "b", *search)
    run(fake, tmp_path / "c", *search, "seed=1")
    a, b, c = ((tmp_path / name / "results.jsonl").read_bytes() for name in "abc")
    assert a == b != c


def test_a_busy_server_is_asked_again_when_it_says(fake: Fake, pauses: list[float]) -> None:
    fake.scripted.append((429, {"Retry-After": "7"}, '{"error": {"message": "slow down"}}'))
    with engine(fake) as remote:
        remote.submit(expansion())
        [child] = drain(remote)
    assert child.error is None
    assert pauses == [7.0]
    assert fake.requests[0] == fake.requests[1]


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_that_recovers_is_enough(fake: Fake, status: int, pauses: list[float]) -> None:
    fake.scripted.append((status, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, "<h1>later</h1>"))
    with engine(fake) as remote:
        remote.submit(expansion())
        assert [child.error for child in drain(remote)] == [None]
    assert pauses == [0.0]


def test_a_pause_is_waited_for(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float, result: None = None) -> None:  # noqa: ARG001
        waited.append(seconds)
        await real(0)

    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", sleep)
    fake.scripted.append((429, {"Retry-After": "7"}, ""))
    with engine(fake) as remote:
        remote.submit(expansion())
        assert [child.error for child in drain(remote)] == [None]
    assert 7.0 in waited


def test_thoughts_fail_with_the_servers_words_and_the_run_goes_on(fake: Fake, tmp_path: Path) -> None:
    fake.always = 500, json.dumps({"error": {"message": f"out of\nmemory, key {KEY}"}})
    summary = run(fake, tmp_path, *SEARCHES["few_shot"], "model.max_retries=0", "baseline=none")
    said = "the server answered 500: out of memory, key ***"
    assert {event.error for event in of_kind(tmp_path, events.ThoughtFailed)} == {said}
    assert summary["failed"] == 4
    assert {line["error"] for line in lines(tmp_path)} == {said}
    assert len(fake.requests) == 4


def test_attempts_end_and_grow_apart(fake: Fake, pauses: list[float]) -> None:
    fake.always = 503, ""
    with engine(fake, max_retries=2) as remote:
        remote.submit(expansion())
        [child] = drain(remote)
    assert child.error == "the server answered 503: Service Unavailable"
    assert len(fake.requests) == 3
    first, second, _ = pauses  # tenacity asks after the last attempt, too
    assert 0.5 <= first <= 1.0 <= second <= 1.5


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, '{"object": "error", "message": "prompt too long"}', "answered 400: prompt too long"),
        (404, '{"detail": "no such model"}', "answered 404: no such model"),
        (422, '{"detail": [{"loc": "n"}]}', "answered 422: [{'loc': 'n'}]"),
        (308, "", "answered 308: Permanent Redirect"),
        (200, "<html>", "is not JSON"),
        (200, '{"choices": []}', "holds no choices"),
        (200, "[1]", "holds no choices"),
        (200, '{"choices": [{"message": "chat"}]}', "a choice without text"),
        (200, f'{{"choices": [{{"text": "", "logprobs": {{"token_logprobs": [1{"0" * 400}]}}}}]}}', "too large"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(fake: Fake, status: int, body: str, said: str) -> None:
    fake.always = status, body
    with engine(fake) as remote:
        remote.submit(expansion(2))
        errors = [child.error for child in drain(remote)]
    assert len(errors) == 2
    assert all(error is not None and said in error and "\n" not in error for error in errors)
    assert len(fake.requests) == 1


def test_a_broken_body_leaves_nothing_behind(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    fake.scripted.append((200, {"Content-Encoding": "gzip"}, "no gzip"))
    with engine(fake, max_retries=0) as remote:
        remote.submit(expansion())
        [child] = drain(remote)
    assert "the connection to the server broke" in str(child.error)
    gc.collect()  # asyncio complains of tasks that were left
    assert not caplog.records


@pytest.mark.usefixtures("pauses")
def test_a_server_that_hangs_runs_into_the_timeout(fake: Fake) -> None:
    fake.delay = lambda request: HANG_S if request["prompt"] == "hang" else 0.0
    with engine(fake, timeout_s=0.3, max_retries=1) as remote:
        remote.submit(expansion(1, "hang", "0"))
        remote.submit(expansion(1, "x", "1"))
        hung, answered = drain(remote)
    assert hung.error == "the server did not answer within 0.3 s (model.timeout_s)"
    assert answered.error is None
    wait_until(lambda: fake.closed == 2)


def test_no_more_requests_are_open_than_allowed(fake: Fake) -> None:
    fake.max_n = 1
    fake.delay = lambda _: 0.03
    with engine(fake, concurrency=3) as remote:
        for problem in range(6):
            remote.submit(expansion(4, problem=str(problem)))
        assert len(drain(remote)) == 24
    assert fake.most_in_flight == 3


def test_the_key_is_sent_and_written_nowhere(fake: Fake, tmp_path: Path) -> None:
    fake.scripted.append((400, {}, f"bad key {KEY}"))
    run(fake, tmp_path, *SEARCHES["few_shot"])
    assert set(fake.keys) == {f"Bearer {KEY}"}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "journal.sqlite" for path in files)
    assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_no_key_is_sent_unless_there_is_one(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(fake, tmp_path / "a", "model.api_key_env=null", "task.limit=1")
    monkeypatch.delenv("OPENAI_API_KEY")
    run(fake, tmp_path / "b", "task.limit=1")
    assert set(fake.keys) == {None}


def test_ctrl_c_closes_connections_and_keeps_what_is_done(fake: Fake, tmp_path: Path) -> None:
    fake.delay = lambda _: HANG_S if len(fake.requests) > 6 else 0.0

    def interrupt() -> None:
        while fake.in_flight < 2 or len(fake.requests) < 8 or not (tmp_path / "results.jsonl").read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    overrides = [*SEARCHES["few_shot"], "task.limit=100", "model.concurrency=2"]
    summary = run(fake, tmp_path, *overrides, code=130)
    assert summary["status"] == "interrupted"
    assert len(lines(tmp_path)) == summary["problems_done"] > 0
    wait_until(lambda: (fake.closed, fake.in_flight) == (2, 0))


def test_the_end_of_a_problem_gives_up_its_requests_alone(fake: Fake) -> None:
    fake.delay = lambda request: HANG_S if request["prompt"] == "hang" else 0.2
    with engine(fake) as remote:
        remote.submit(expansion(1, "hang", "0"))
        remote.submit(expansion(1, "x", "1"))
        while len(fake.requests) < 2:
            remote.step()
        assert remote.end_problem("0") == 0
        assert [child.problem for child in drain(remote)] == ["1"]
    wait_until(lambda: fake.closed == 1)


def test_a_problem_out_of_time_gives_up_its_requests(fake: Fake, tmp_path: Path) -> None:
    fake.delay = lambda _: HANG_S
    summary = run(fake, tmp_path, *SEARCHES["few_shot"], "budget.seconds=0.5", "baseline=none", "model.concurrency=2")
    assert summary["failed"] == 4
    assert all("budget.seconds" in line["error"] for line in lines(tmp_path))
    assert fake.requests
    wait_until(lambda: fake.closed == len(fake.requests))


def test_a_token_budget_that_the_server_gives_no_counts_for_is_refused(fake: Fake, tmp_path: Path) -> None:
    fake.logprobs = fake.usage = False
    summary = run(fake, tmp_path, *SEARCHES["few_shot"], "budget.tokens=40", "baseline=none")
    assert summary["failed"] == 4
    assert all("budget.tokens cannot be kept" in line["error"] for line in lines(tmp_path))


@pytest.mark.parametrize("told", ["logprobs", "usage"])
def test_a_token_budget_is_kept_by_either_count(fake: Fake, tmp_path: Path, told: str) -> None:
    setattr(fake, {"logprobs": "usage", "usage": "logprobs"}[told], False)
    run(fake, tmp_path, *SEARCHES["few_shot"], "budget.tokens=40", "baseline=none")
    assert all(0 < line["tokens_decoded"] <= 40 for line in lines(tmp_path))


def test_tokens_that_nobody_counts_are_named_once(fake: Fake, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake.logprobs = fake.usage = False
    assert run(fake, tmp_path, *SEARCHES["few_shot"], "baseline=none")["tokens_decoded"] == 0
    warnings = [r.message for r in caplog.records if r.name == "treereason.remote.engine"]
    assert warnings == ["the server tells neither usage nor logprobs: its decoded tokens count as 0"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_it_before_the_run(
    fake: Fake, tmp_path: Path, capfd: pytest.CaptureFixture[str], status: int
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


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_an_address_that_is_no_host_is_one_line(host: str) -> None:
    server = Server("x", f"http://{host}/v1", style="plain")
    with pytest.raises(UserError, match=rf"^model\.url=http://{host}/v1: the server cannot be reached: .*$"):
        server.probe()


def test_a_missing_package_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "treereason.remote.server")
    monkeypatch.setitem(sys.modules, "httpx", None)
    assert main(["model=openai", "model.name=x", "display=none", f"hydra.run.dir={tmp_path}"]) == 2
    assert capfd.readouterr().err == "treereason: error: model=openai needs httpx: pip install 'treereason[remote]'\n"


def test_a_key_that_is_none_is_not_repeated() -> None:
    with pytest.raises(UserError, match="characters that no key has") as caught:
        Server("x", "http://127.0.0.1", style="plain", api_key="secret\nX: y")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (Prompt("", token_ids=(1, 2)), "token ids"),
        (Prompt("", appended=True), "after a thought that ended its text"),
    ],
)
def test_prompts_that_a_server_cannot_be_sent(fake: Fake, second: Prompt, said: str) -> None:
    with engine(fake) as remote:
        remote.submit(expansion())
        drain(remote)
        remote.submit(Expansion("0", (0,), second, ((0, 0), (0, 1)), Sampling()))
        decoded = drain(remote)
        assert [child.path for child in decoded] == [(0, 0), (0, 1)]
        assert all(said in str(child.error) for child in decoded)
        remote.release("0", (0,))
        remote.submit(Expansion("0", (0,), Prompt("y", appended=True), ((0, 2),), Sampling()))
        assert "has been returned" in str(drain(remote)[0].error)
    assert len(fake.requests) == 1


def test_an_appended_prompt_goes_behind_the_whole_text(fake: Fake) -> None:
    with engine(fake) as remote:
        remote.submit(expansion(1, "b", shared="a", stop=("9",), ignore_end=True))
        [above] = drain(remote)
        remote.submit(Expansion("0", (0,), Prompt("c", appended=True), ((0, 0),), Sampling()))
        drain(remote)
    first, second = fake.requests
    assert first["prompt"] == "ab"
    assert first["stop"] == ["9"]
    assert first["ignore_eos"] is True
    assert "stop" not in second
    seed = str(request_seed(0, "0", (0,)))
    assert above.text == " " + seed.partition("9")[0]
    assert second["prompt"] == f"ab{above.text}{'9' if '9' in seed else ''}c"


@pytest.mark.parametrize(
    ("choice", "text", "stop", "ended"),
    [
        ({"text": "a", "finish_reason": "stop", "stop_reason": "\n"}, "a", "\n", False),
        ({"text": "a", "finish_reason": "stop", "stop_reason": None}, "a", "", True),
        ({"text": "a", "finish_reason": "stop", "stop_reason": 2}, "a", "", True),
        ({"text": "a", "finish_reason": "stop"}, "a", ";", False),
        ({"text": "a", "finish_reason": "length"}, "a", "", False),
        ({"text": "a\nb;", "finish_reason": "length"}, "a", "\n", False),
    ],
)
def test_how_a_choice_ended(choice: dict[str, Any], text: str, stop: str, ended: bool) -> None:
    [read] = read_answer({"choices": [choice]}, (";", "\n")).choices
    assert (read.text, read.stop, read.ended) == (text, stop, ended)


@pytest.mark.parametrize("value", [None, {}, {"choices": None}, {"choices": ["a"]}, {"choices": [{"text": None}]}])
def test_what_is_no_completion(value: Any) -> None:
    with pytest.raises(RequestFailed):
        read_answer(value, ())


def test_odd_figures_count_as_nothing() -> None:
    odd = {"choices": [{"text": "a", "index": "0", "logprobs": {"token_logprobs": [None, -1]}}], "usage": 3}
    answer = read_answer(odd, ())
    assert (answer.choices[0].logprob, answer.choices[0].num_tokens, answer.num_prompt_tokens) == (-1.0, 2, 0)
    for count in (-1, True, 2.5, 10**400):
        answer = read_answer({"choices": [{"text": "a"}], "usage": dict.fromkeys(USAGE, count)}, ())
        assert (answer.choices[0].num_tokens, answer.num_prompt_tokens) == (0, 0)
