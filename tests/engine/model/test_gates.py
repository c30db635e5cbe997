"""What cannot be served is refused by name and reason, before any weights are read."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from treereason.cli.main import main
from treereason.core import UserError
from treereason.engine.model.gates import check_checkpoint, refusal
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.load import EMBEDDED, load_model
from treereason.engine.model.self_check import self_check


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


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@contextmanager
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The log lines of transformers, too, which it keeps from the root logger."""
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    yield
    logger.removeHandler(caplog.handler)


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
    assert "is not a safetensors file" in complaint(capsys, checkpoint)
    header = b'{"model.norm.weight": {}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert "is not a safetensors file" in complaint(capsys, checkpoint)
    path.unlink()
    assert "weights are read from safetensors only" in complaint(capsys, checkpoint)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no JSON", "is not JSON"),
        ("[" * 100_000, "nested more than 100 deep"),
        ("[]", "is not a JSON object"),
        ("{}", "has no weight_map"),
        ('{"weight_map": 1}', "has no weight_map"),
        ('{"weight_map": {"a": 1}}', "has no weight_map"),
        ('{"weight_map": {"a": "../a.safetensors"}}', "which is not beside it"),
        ('{"weight_map": {"a": "/dev/zero"}}', "which is not beside it"),
        ('{"weight_map": {"a": ".."}}', "which is not beside it"),
    ],
)
def test_a_broken_index_is_named(checkpoint: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str) -> None:
    (checkpoint / "model.safetensors.index.json").write_text(text)
    said = complaint(capsys, checkpoint)
    assert "model.safetensors.index.json: " in said
    assert reason in said


def test_layers_that_would_be_left_out_are_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_config(checkpoint, num_hidden_layers=3)
    said = "more layers than config.json says: left out would be model.layers.3.input_layernorm.weight, first of 9"
    assert said in complaint(capsys, checkpoint)


def test_other_tensors_that_are_left_out_are_told_in_one_line(
    checkpoint: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(16)  # in old checkpoints; computed anew
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with everything_logged(caplog):
        load_model(str(checkpoint), style="embedded")
        assert not caplog.messages
        save_file({**weights, "a.weight": torch.ones(2)}, checkpoint / "model.safetensors", metadata={"format": "pt"})
        load_model(str(checkpoint), style="embedded")
    [line] = caplog.messages
    assert line.endswith("left out of the checkpoint: a.weight, first of 1 tensors that the model does not have")
    assert capfd.readouterr() == ("", "")


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
        ({"layer_types": 5}, "its layer_types should be a list, not 5"),
        ({"layer_types": [5]}, "it has layers of type 5"),
        ({"num_hidden_layers": 0}, "llama cannot be served: its config.json says num_hidden_layers=0: put in"),
        ({"num_hidden_layers": -1}, "num_hidden_layers=-1: put in"),
        ({"hidden_size": 0}, "hidden_size=0: put in"),
        ({"num_attention_heads": 0}, "num_attention_heads=0: put in"),
        ({"num_key_value_heads": -3}, "num_key_value_heads=-3: put in"),
        ({"vocab_size": 0}, "vocab_size=0: put in"),
        ({"max_position_embeddings": -1}, "max_position_embeddings=-1: put in"),
        ({"model_type": "gpt2", "n_layer": 0}, "gpt2 cannot be served: its config.json says n_layer=0: put in"),
        ({"text_config": {"head_dim": 0}}, "head_dim=0: put in"),
        ({"model_type": ["llama"]}, "cannot be loaded: unhashable type: 'list'"),
        ({"hidden_size": "x"}, "Field 'hidden_size' expected int, got str"),
        ({"num_attention_heads": 7}, "hidden size (160) is not a multiple of the number of attention heads (7)"),
        ({"hidden_act": "nope"}, "its config.json builds no model: 'nope'"),
        (
            {"vocab_size": 70},
            "of other sizes than config.json says, first of 1: model.embed_tokens.weight is (67, 160)",
        ),
    ],
)
def test_a_config_that_cannot_be_served_is_refused_by_name_and_reason(
    changes: dict[str, object], reason: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_config(checkpoint, **changes)
    assert reason in complaint(capsys, checkpoint)


def test_a_model_type_that_transformers_does_not_know_is_refused(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_config(checkpoint, model_type="never_heard_of")
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
    tiny_model: Callable[[str], tuple[LanguageModel, PreTrainedModel]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = tiny_model("llama")
    self_check("tiny", model)
    eager = model.eager_logits
    monkeypatch.setattr(model, "eager_logits", lambda tokens: eager(tokens) + torch.linspace(0, 0.01, 64))
    with pytest.raises(UserError, match="differ from its own"):
        self_check("tiny", model)
