"""Options of this machine's engine beside a model on a server."""

from __future__ import annotations

import pytest

from treereason.cli.main import main
from treereason.config.on_a_server import HEEDED
from treereason.config.options import options
from treereason.config.schema import DraftConfig, EngineConfig

CHANGED = {
    "engine.max_branches": "7",
    "engine.prefill_tokens": "7",
    "engine.kv_tokens": "4096",
    "engine.kv_gib": "0.5",
    "engine.threads": "1",
    "engine.deterministic": "true",
    "engine.graphs": "false",
    "engine.cpu": "torch",
    "draft.model": "FOLDER",
    "draft.depth": "2",
    "draft.width": "2",
    "speculative": "siblings",
}


def test_what_a_server_does_not_heed_is_refused_by_name(capfd: pytest.CaptureFixture[str]) -> None:
    known = {f"{group}.{one.name}" for group, cls in (("engine", EngineConfig), ("draft", DraftConfig))
             for one in options(cls)}  # fmt: skip
    assert known == (set(CHANGED) - {"speculative"}) | HEEDED, "a new option: does a server heed it?"
    for name, value in CHANGED.items():
        assert main(["model=openai", "model.name=m", "display=none", f"{name}={value}"]) == 2
        assert capfd.readouterr().err == (
            f"treereason: error: {name}={value}: a server decodes by itself; leave it out, or take a local model\n"
        )


def test_all_that_a_server_does_not_heed_is_named_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    given = ["speculative=model", "engine.graphs=false", "draft.model=FOLDER"]
    assert main(["model=openai", "model.name=m", "display=none", *given]) == 2
    said = "speculative=model, engine.graphs=false, draft.model=FOLDER: a server decodes by itself; leave them out"
    assert said in capfd.readouterr().err
