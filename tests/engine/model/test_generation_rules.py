"""What a checkpoint asks of `generate` and is not done here is said by name; what can be done is an option."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from treereason.cli.main import main
from treereason.core import Sampling
from treereason.engine.model.generation_rules import other_sampling, rules_left_out
from treereason.engine.model.load import EMBEDDED, load_model


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the shipped model."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for file in EMBEDDED.glob("*.*"):
        if file.suffix in (".json", ".safetensors"):
            (folder / file.name).symlink_to(file)
    (folder / "generation_config.json").unlink()
    return folder


def ask(checkpoint: Path, **values: Any) -> str:
    (checkpoint / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, **values}))
    return str(checkpoint)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"suppress_tokens": [5, 7]}, "suppress_tokens=[5, 7]"),
        ({"repetition_penalty": 1.1}, "repetition_penalty=1.1"),
        ({"bad_words_ids": [[5]]}, "bad_words_ids=[[5]]"),
        ({"min_new_tokens": 3}, "min_new_tokens=3"),
        ({"no_repeat_ngram_size": 2, "typical_p": 0.9}, "no_repeat_ngram_size=2, typical_p=0.9"),
        ({"forced_eos_token_id": 2}, "forced_eos_token_id=2"),
        ({"forced_bos_token_id": 0}, "forced_bos_token_id=0"),
        ({"begin_suppress_tokens": [2]}, "begin_suppress_tokens=[2]"),
        ({"stop_strings": ["=="]}, "stop_strings=['==']"),
        ({"num_beams": 4}, "num_beams=4"),
    ],
)
def test_a_rule_of_the_checkpoint_that_is_left_out_is_named(
    asked: dict[str, Any], said: str, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_model(ask(checkpoint, **asked), style="embedded")
    [record] = caplog.records
    assert record.getMessage().endswith(f"its generation_config.json asks for what is left out here: {said}")


@pytest.mark.parametrize(
    "asked",
    [
        {"repetition_penalty": 1.0, "suppress_tokens": [], "min_length": 0, "num_beams": 1, "typical_p": 1.0},
        {"max_new_tokens": 50, "use_cache": True},
        {},
    ],
)
def test_rules_that_change_nothing_are_not_named(
    asked: dict[str, Any], checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model(ask(checkpoint, **asked), style="embedded")
    assert rules_left_out(model.generation) == ""
    assert not caplog.records


@pytest.mark.parametrize(
    ("asked", "sampling", "said"),
    [
        ({"temperature": 0.6, "top_k": 20, "top_p": 0.95}, Sampling(), "temperature=0.6, top_k=20, top_p=0.95"),
        ({"temperature": 0.6, "top_k": 20, "top_p": 0.95}, Sampling(0.6, 0.95, 20), ""),
        ({"temperature": 0.7, "min_p": 0.05}, Sampling(0.7), "min_p=0.05"),
        ({"temperature": 0.6, "top_p": 0.9}, Sampling(0.0), ""),
        ({"temperature": 0.6, "top_p": 0.9}, Sampling(top_k=1), ""),
        ({"temperature": 0.6, "do_sample": False}, Sampling(), ""),
        ({"temperature": None, "top_p": 1.0}, Sampling(), ""),
    ],
)
def test_sampling_that_the_checkpoint_asks_for_and_the_run_does_otherwise_is_named(
    asked: dict[str, Any], sampling: Sampling, said: str
) -> None:
    assert other_sampling(asked, sampling) == said


def test_a_run_names_other_sampling_once_and_not_when_it_follows_the_checkpoint(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = ask(checkpoint, temperature=0.6, top_k=20, do_sample=True)
    run = [f"model.name={name}", "model.style=embedded", "task.length=4", "task.limit=1", "display=none"]
    with caplog.at_level(logging.WARNING):
        assert main(["model=transformers", *run, f"hydra.run.dir={tmp_path}/a"]) == 0
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["temperature=0.6, top_k=20"]
    caplog.clear()
    assert main(["model=transformers", *run, "temperature=0.6", "top_k=20", f"hydra.run.dir={tmp_path}/b"]) == 0
    assert not caplog.records
