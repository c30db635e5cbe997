"""What cannot be served is refused by name and reason, before any weights are read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from treereason.cli import main
from treereason.core import UserError
from treereason.engine.checks import check_checkpoint, refusal, self_check
from treereason.engine.model import EMBEDDED, Model, load_model


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the shipped checkpoint to break."""
    folder = tmp_path / "broken"
    shutil.copytree(EMBEDDED, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def complaint(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    code = main(["model=transformers", f"model.name={folder}", "model.style=embedded", "task.limit=1", "display=none"])
    assert code == 2
    out, err = capsys.readouterr()
    assert not out
    assert len(err.strip().splitlines()) == 1
    return err


def test_a_missing_tensor_is_named(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)  # nothing may be loaded
    assert "lacks 1 of its tensors, first model.layers.1.mlp.up_proj.weight" in complaint(capsys, checkpoint)


def test_a_cut_off_file_is_named(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors: is cut off" in complaint(capsys, checkpoint)
    path.write_bytes(b"not weights at all")
    assert "is no safetensors file" in complaint(capsys, checkpoint)
    path.unlink()
    assert "weights are read from safetensors only" in complaint(capsys, checkpoint)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "bloom"}, "bloom cannot be served: its attention adds ALiBi"),
        ({"model_type": "falcon", "alibi": True}, "falcon cannot be served: its attention adds ALiBi"),
        ({"model_type": "llama4_text", "attention_chunk_size": 8192}, "cut into chunks of 8192 tokens"),
        ({"model_type": "llama4", "text_config": {"attention_chunk_size": 8192}}, "llama4 cannot be served"),
        ({"model_type": "qwen3_next", "layer_types": ["linear_attention", "full_attention"]}, "linear_attention"),
        ({"rope_scaling": {"rope_type": "longrope"}}, "its RoPE (longrope)"),
        ({"rope_parameters": {"full_attention": {"rope_type": "dynamic"}}}, "its RoPE (dynamic)"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "encoder-decoder"),
    ],
)
def test_an_unsupported_architecture_is_refused_by_name_and_reason(
    changes: dict[str, object], reason: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert reason in complaint(capsys, checkpoint)


def test_a_model_type_that_transformers_does_not_know_is_refused(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "never_heard_of"}))
    assert "never_heard_of" in complaint(capsys, checkpoint)


@pytest.mark.parametrize("name", ["/no/such/folder", "./no_such_folder"])
def test_a_folder_that_is_none_is_named(name: str) -> None:
    with pytest.raises(UserError, match="no such folder"):
        check_checkpoint(name)


def test_a_model_without_chat_template_says_which_style_to_take() -> None:
    with pytest.raises(UserError, match=r"no chat template; use model\.style=plain"):
        load_model("embedded", style="chat")


def test_the_shipped_config_is_served() -> None:
    assert refusal(json.loads((EMBEDDED / "config.json").read_text())) is None
    check_checkpoint(str(EMBEDDED))


def test_the_self_check_finds_attention_that_is_not_the_models_own(
    tiny_model: Callable[[str], tuple[Model, PreTrainedModel]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = tiny_model("llama")
    self_check("tiny", model)
    eager = model.eager_logits
    monkeypatch.setattr(model, "eager_logits", lambda tokens: eager(tokens) + torch.linspace(0, 0.01, 64))
    with pytest.raises(UserError, match="differ from its own"):
        self_check("tiny", model)
