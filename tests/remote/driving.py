"""How tests drive the remote engine: by itself, or through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.remote.fake_server import FakeServer
from treereason.cli.main import main
from treereason.core import Decoded, Expansion, Prompt, Request, Sampling
from treereason.remote.engine import RemoteEngine
from treereason.remote.server import Server

KEY = "sk-a-key-that-nobody-may-see"
SEARCHES = {
    "sorting": ["task=sorting", "task.length=6", "search=tree_of_thoughts", "search.k=3", "search.steps=2"],
    "few_shot": ["task=few_shot", "search=self_consistency", "search.n=5"],
    "line by line": ["task=few_shot", "task.stepwise=true", "scorer=steps_hold", "search.k=3", "search.steps=4"],
    "document_merging": ["task=document_merging", "search=best_of_n", "search.n=2"],
}


def run(fake: FakeServer, folder: Path, *overrides: str, code: int = 0) -> dict[str, Any]:
    """A run from the command line, on the completions endpoint unless the overrides say otherwise; its summary."""
    if not any(override.startswith("model.endpoint=") for override in overrides):
        overrides = ("model.endpoint=completions", *overrides)
    common = ["model=openai", "model.name=fake", f"model.url={fake.url}", "display=none", f"hydra.run.dir={folder}"]
    assert main([*common, "task.limit=4", *overrides]) == code
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def lines(folder: Path) -> list[dict[str, Any]]:
    """The results of a run."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def expansion(k: int = 1, text: str = "x", problem: str = "0", **prompt: Any) -> Expansion:
    """k children of the root, at temperature 1."""
    children = tuple((rank,) for rank in range(k))
    return Expansion(problem, (), Prompt(text, **prompt), children, Sampling(1.0))


def engine(fake: FakeServer, **options: Any) -> RemoteEngine:
    """An engine of seed 0 on the server."""
    return RemoteEngine(Server("fake", fake.url, style="plain", **options), seed=0)


def drain(engine: RemoteEngine) -> list[Decoded]:
    """All that the engine still returns, in the order of the tree."""
    decoded: list[Decoded] = []
    while engine.busy:
        decoded += engine.step()[0]
    return sorted(decoded, key=lambda child: (child.problem, child.path))


def ask(engine: RemoteEngine, request: Request) -> list[Decoded]:
    """What comes back for one request."""
    engine.submit(request)
    return drain(engine)
