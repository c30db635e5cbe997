"""Checkpoints that transformers itself can load quantised are served, and checked like all others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from treereason.cli.main import main
from treereason.core import Expansion, Prompt, Sampling
from treereason.engine.engine import Engine
from treereason.engine.model import gates
from treereason.engine.model.load import EMBEDDED, load_model

BLOCK = 128


@pytest.fixture
def fp8_checkpoint(tmp_path: Path) -> Path:
    """A random Llama in the format of published FP8 checkpoints: weights with a scale for each 128 x 128 block."""
    config = LlamaConfig(
        vocab_size=67,
        hidden_size=BLOCK,
        intermediate_size=2 * BLOCK,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
    )
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in auto.from_config(config).state_dict().items():
        if not name.endswith("proj.weight"):
            tensors[name] = weight.to(torch.bfloat16)
            continue
        blocks = weight.view(weight.shape[0] // BLOCK, BLOCK, weight.shape[1] // BLOCK, BLOCK)
        scale = blocks.abs().amax(dim=(1, 3)) / torch.finfo(torch.float8_e4m3fn).max
        tensors[name] = (blocks / scale[:, None, :, None]).view(weight.shape).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale_inv"] = scale
    folder = tmp_path / "fp8"
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    written = config.to_dict() | {
        "architectures": ["LlamaForCausalLM"],
        "dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "fp8",
            "activation_scheme": "dynamic",
            "weight_block_size": [BLOCK, BLOCK],
        },
    }
    (folder / "config.json").write_text(json.dumps(written))
    AutoTokenizer.from_pretrained(EMBEDDED).save_pretrained(folder)
    return folder


def test_a_quantised_checkpoint_decodes(fp8_checkpoint: Path) -> None:
    pytest.importorskip("accelerate")
    model = load_model(str(fp8_checkpoint), style="plain", device="cpu")  # its self-check compares trees with eager
    engine = Engine(model, seed=0, max_branches=4, prefill_tokens=64, kv_tokens=256)
    prompt = Prompt("", token_ids=(5, 6, 7, 8), max_tokens=6, ignore_end=True)
    engine.submit(Expansion("a", (), prompt, ((0,), (1,)), Sampling(0.0)))
    decoded = []
    while engine.busy:
        decoded += engine.step()[0]
    tokens = list(prompt.token_ids)
    for _ in range(prompt.max_tokens):
        tokens.append(int(model.eager_logits(tokens).argmax()))
    assert [child.text for child in decoded] == [model.decode(tokens[4:])] * 2


def test_a_quantised_checkpoint_without_its_package_is_refused_before_it_is_read(
    fp8_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gates, "find_spec", lambda name: None if name == "accelerate" else object())
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)
    assert main(["model=transformers", f"model.name={fp8_checkpoint}", "model.style=plain", "display=none"]) == 2
    assert "it is quantised (fp8), which needs another package: pip install accelerate" in capsys.readouterr().err


def test_a_quantisation_that_transformers_would_ignore_is_refused(
    fp8_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("accelerate")
    config = json.loads((fp8_checkpoint / "config.json").read_text())
    config["quantization_config"]["quant_method"] = "abacus"
    (fp8_checkpoint / "config.json").write_text(json.dumps(config))
    assert main(["model=transformers", f"model.name={fp8_checkpoint}", "model.style=plain", "display=none"]) == 2
    error = capsys.readouterr().err
    assert "it leaves out 14 of the checkpoint's tensors, first model.layers.0.mlp.down_proj.weight_scale_inv" in error
    assert len(error.strip().splitlines()) == 1
