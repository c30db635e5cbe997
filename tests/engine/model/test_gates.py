"""What cannot be served is refused by name and reason, before any weights are read."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from treereason.cli.main import main
from treereason.core import Prompt, UserError
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
    """What refuses the folder, in one line; nothing else is printed."""
    with pytest.raises(UserError) as raised:
        load_model(str(folder), style="embedded")
    assert capsys.readouterr() == ("", "")
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def complaint_of_a_run(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
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
    assert "lacks 1 of its tensors, first model.layers.1.mlp.up_proj.weight" in complaint_of_a_run(capsys, checkpoint)


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


HEADER = {"a.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"[" * 100_000, "nested more than 100 deep"),
        (b"[]", "its header is not an object"),
        (json.dumps(HEADER)[:-1].encode() + b"," + json.dumps(HEADER)[1:].encode(), "the key 'a.weight' occurs twice"),
        ({"a.weight": {**HEADER["a.weight"], "data_offsets": [0, 2**70]}}, "has no data_offsets"),
        ({"a.weight": {**HEADER["a.weight"], "data_offsets": [-8, 0]}}, "has no data_offsets"),
        ({"a.weight": {**HEADER["a.weight"], "data_offsets": [0, 4]}}, "has 4 bytes, its shape 8"),
        ({"a.weight": {**HEADER["a.weight"], "shape": [-1, -2]}}, "has no shape"),
        ({"a.weight": {**HEADER["a.weight"], "shape": [2**40, 2**40]}}, "has 8 bytes, its shape 4,835"),
        ({"a.weight": {**HEADER["a.weight"], "shape": [2**62] * 100_000}}, "has no shape"),
        ({"a.weight": {**HEADER["a.weight"], "dtype": "F9"}}, "has no dtype that is known"),
        ({**HEADER, "b.weight": HEADER["a.weight"]}, "'b.weight' begins at byte 0, not at 8"),
        ({"x" * 100_000: 5}, "is not an object"),
    ],
)
def test_a_broken_header_is_named(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], header: bytes | dict[str, object], reason: str
) -> None:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    (checkpoint / "model.safetensors").write_bytes(len(content).to_bytes(8, "little") + content + b"\0" * 8)
    said = complaint(capsys, checkpoint)
    assert "model.safetensors: is not a safetensors file, or was cut off: " in said
    assert reason in said
    assert len(said) < 1000


def test_a_huge_header_is_not_read(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (checkpoint / "model.safetensors").open("wb") as file:
        file.write((2**32).to_bytes(8, "little"))
        file.truncate(2**33)
    assert "a header of 4,294,967,296 bytes; at most 33,554,432 are read" in complaint(capsys, checkpoint)


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.int8, "I8"), (torch.bool, "BOOL"), (torch.float8_e4m3fn, "F8_E4M3")]
)
@pytest.mark.parametrize("quantisation", [None, {"quant_method": "nope"}])
def test_weights_that_are_not_floats_are_refused(
    dtype: torch.dtype, name: str, quantisation: object, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    tensor = "model.layers.1.mlp.up_proj.weight"
    save_file({**weights, tensor: weights[tensor].to(dtype)}, checkpoint / "model.safetensors", {"format": "pt"})
    change_config(checkpoint, quantization_config=quantisation)
    assert f"{tensor} is stored as {name}, without a quantisation that is known" in complaint(capsys, checkpoint)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.json", "[]", "config.json: is not a JSON object"),
        ("config.json", "[" * 100_000, "config.json: is not JSON: its brackets are nested more than 100 deep"),
        ("config.json", '{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        ("config.json", '{"vocab_size": ' + "9" * 5000 + "}", "config.json: is not JSON"),
        ("config.json", json.dumps({f"field{i}": i for i in range(5000)}), "it has 5,000 fields, and at most 2,000"),
        ("config.json", '{"model_type": "\\u001b]0;t\\u0007"}', "has model type `␛]0;t␇`"),
        ("generation_config.json", "", "generation_config.json: is not JSON"),
        ("generation_config.json", '{"eos_token_id": -5}', "eos_token_id=-5: it should be a token's number"),
        ("generation_config.json", '{"eos_token_id": [1, 1e99]}', "it should be a token's number"),
        ("generation_config.json", "null", "generation_config.json: is not a JSON object"),
        ("generation_config.json", '{"eos_token_id": [[1]]}', "eos_token_id=[[1]]: it should be a token's number"),
        ("generation_config.json", '{"temperature": "x"}', "temperature='x': it should be a number"),
        ("generation_config.json", '{"cache_implementation": "nope"}', "generation_config.json cannot be loaded"),
        ("tokenizer_config.json", "[]", "tokenizer_config.json: is not a JSON object"),
        ("tokenizer_config.json", '{"eos_token": 5}', "its config or tokenizer cannot be loaded"),
        ("tokenizer.json", "{}", "its config or tokenizer cannot be loaded"),
        ("chat_template.jinja", "\udcff", "its config or tokenizer cannot be loaded"),
    ],
)
def test_broken_text_files_are_named(
    file: str, content: str, reason: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / file).write_text(content, errors="surrogateescape")
    assert reason in complaint(capsys, checkpoint)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "merges.txt", "model.safetensors"])
def test_only_regular_files_of_a_bounded_size_are_read(
    file: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / file
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert f"{file}: it is not a regular file" in complaint(capsys, checkpoint)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert f"{file}: it is not a regular file" in complaint(capsys, checkpoint)
    path.unlink()
    path.mkdir()
    assert f"{file}: it is a folder" in complaint(capsys, checkpoint)
    if file != "model.safetensors":
        path.rmdir()
        with path.open("wb") as sparse:
            sparse.truncate(2**30)
        assert f"{file}: it has 1,073,741,824 bytes, and at most 1" in complaint(capsys, checkpoint)


@pytest.mark.parametrize("file", ["generation_config.json", "tokenizer_config.json", "model.safetensors.index.json"])
def test_a_link_to_nothing_is_not_taken_for_a_file_that_is_left_out(
    file: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / file
    path.unlink(missing_ok=True)
    path.symlink_to("nothing")
    assert f"no such file: {path}" in complaint(capsys, checkpoint)
    path.unlink()
    path.symlink_to(path)
    assert f"{file}: Too many levels of symbolic links" in complaint(capsys, checkpoint)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives its rights up, and takes them back")
def test_what_may_not_be_read_is_named(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    def refused_to_others() -> str:
        os.seteuid(65534)
        try:
            with pytest.raises(UserError) as raised:
                check_checkpoint(str(checkpoint))
        finally:
            os.seteuid(0)
        return str(raised.value)

    top = tmp_path_factory.getbasetemp().parent.parent  # pytest makes folders for one user only
    for folder in (checkpoint, *checkpoint.parents):
        if folder.is_relative_to(top):
            folder.chmod(0o755)
    for path in (checkpoint / "config.json", checkpoint / "model.safetensors", checkpoint):
        path.chmod(0)
        assert refused_to_others() == f"cannot read {path}: Permission denied"
        path.chmod(0o755)


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        {"decoder": {"type": "Strip", "content": " ", "start": 10**9, "stop": 10**9}},
        {
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "q", "type_id": 0}}],
                "pair": [],
                "special_tokens": {},
            }
        },
    ],
)
def test_a_panic_of_the_tokenizer_is_one_line(
    change: dict[str, object], checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert main(["model=transformers", f"model.name={checkpoint}", "model.style=embedded", "display=none"]) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert "cannot be loaded: tokenizers panicked: " in line


def test_what_the_tokenizers_library_prints_of_a_file_is_dropped(
    checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"][0] |= {"\x1b]0;title\x07": True}
    path.write_text(json.dumps(tokenizer))
    load_model(str(checkpoint), style="embedded")
    assert capfd.readouterr() == ("", "")


def test_a_panic_during_a_run_is_an_error_of_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    panic = type("PanicException", (BaseException,), {})

    class Tokenizer:
        def __call__(self, *_: object, **__: object) -> None:
            raise panic("index out of bounds")

        decode = __call__

    model = load_model("embedded", style="embedded")
    monkeypatch.setattr(model._codec, "_tokenizer", Tokenizer())
    with pytest.raises(ValueError, match="the tokenizer refuses the prompt: tokenizers panicked: index out of bounds"):
        model.encode(Prompt("1"))
    with pytest.raises(UserError, match="its tokenizer decodes nothing: tokenizers panicked: index out of bounds"):
        model.decode([1])


def test_a_broken_chat_template_is_refused_before_the_run(checkpoint: Path) -> None:
    (checkpoint / "chat_template.jinja").write_text("{% for")
    with pytest.raises(UserError, match=r"its chat template cannot be used; use model\.style=plain: unexpected"):
        load_model(str(checkpoint), style="chat")
    load_model(str(checkpoint), style="plain")


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
        ({"num_hidden_layers": True}, "num_hidden_layers=True: put in"),
        ({"num_hidden_layers": float("nan")}, "num_hidden_layers=nan: put in"),
        ({"num_hidden_layers": 5000}, "its config.json says 5,000 layers, and the checkpoint has 38 tensors in all"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers=1000000, and at most 10,000 is served"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers=1000000000000, and at most"),
        ({"vocab_size": 10**7}, "model.embed_tokens.weight is (72, 160), not (10000000, 160)"),
        ({"vocab_size": 10**12}, "vocab_size=1000000000000, and at most"),
        ({"max_position_embeddings": 1e300}, "max_position_embeddings=1e+300, and at most"),
        ({"num_experts": 10**9}, "num_experts=1000000000, and at most"),
        ({"sliding_window": 0}, "sliding_window=0: put in the tokens that a layer sees"),
        ({"model_type": "mistral", "sliding_window": -5}, "sliding_window=-5: put in"),
        ({"rope_theta": float("inf")}, "rope_theta=inf: it should be from 1 to 1e15"),
        ({"rope_parameters": 5}, "rope_parameters=5: it should be an object"),
        ({"rope_parameters": {"rope_type": "nope"}}, "builds no model: 'nope'"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 0}}, "factor=0: it should be from 1"),
        ({"rope_scaling": {"type": "yarn", "factor": "x"}}, "factor='x': it should be a number"),
        ({"dtype": "float64"}, "its weights are torch.float64; choose model.dtype=float32"),
        ({"dtype": "int8"}, "not a floating-point dtype"),
        ({"model_type": "x" * 100_000}, "has model type `xxx"),
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
        ({"num_labels": 10**30}, "num_labels=1000000000000000000000000000000, and at most 1,048,576"),
        ({"vision_config": {"num_labels": 10**10}}, "num_labels=10000000000, and at most 1,048,576"),
        ({"model_type": "gpt_neo", "num_layers": 10**12}, "num_layers=1000000000000, and at most 10,000"),
        ({"model_type": "gpt_neo", "attention_types": [[["global"], 10**12]]}, "that is more than 10,000 layers"),
        (
            {"vocab_size": 70},
            "of other sizes than config.json says, first of 1: model.embed_tokens.weight is (72, 160)",
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
    assert "never_heard_of" in complaint_of_a_run(capsys, checkpoint)


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
