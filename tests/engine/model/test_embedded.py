"""The shipped model loaded without transformers: the same bits as with it, and no import of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from treereason.core import Prompt, UserError
from treereason.engine.attention.eager_step import eager_step
from treereason.engine.kv.cache import KVCache
from treereason.engine.kv.forest import RUN, Forest
from treereason.engine.kv.pages import PagePool
from treereason.engine.model.compiled import Compiled
from treereason.engine.model.embedded import load_embedded
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.load import load_model

TEXT = "Q3+4*5\nA<eos>sort: 3 1 2; Alice pays 7 dollars to Bob?é\n"


def logits(model: LanguageModel) -> torch.Tensor:
    """[60, V]: of a prompt of 40 tokens and two branches of 10 each, in one step after another."""
    forest, cache = Forest(PagePool(8), page_size=16), KVCache(8, page_size=16)
    tokens = [(7 + 13 * i) % model.vocabulary_size for i in range(60)]
    root = forest.attach(tokens[:40], RUN)
    forest.compute(root, 40)
    found = model.forward(eager_step(forest, {root: 40}, cache, attention=model.attention), list(range(40)))
    branches = [forest.fork(root, RUN) for _ in range(2)]
    for branch, part in zip(branches, (tokens[40:50], tokens[50:]), strict=True):
        branch.tokens = part
        forest.compute(branch, len(part))
    step = eager_step(forest, dict.fromkeys(branches, 10), cache, attention=model.attention)
    return torch.cat([found, model.forward(step, list(range(20)))])


@pytest.mark.parametrize("cpu", ["torch", "auto"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "auto"])
def test_the_shipped_model_computes_the_same_bits_as_in_transformers(dtype: str, cpu: Compiled) -> None:
    own = load_embedded(style="embedded", dtype=dtype, cpu=cpu)
    theirs = load_model("embedded", style="embedded", dtype=dtype, device="cpu", cpu=cpu)
    assert torch.equal(logits(own), logits(theirs))
    for name in (
        "name",
        "dtype",
        "device",
        "fused",
        "max_positions",
        "eos_ids",
        "vocabulary_size",
        "attention",
        "same_bits",
    ):
        assert getattr(own, name) == getattr(theirs, name), name
    assert own.kv_bytes_per_token == theirs.kv_bytes_per_token


def test_its_tokenizer_is_the_one_that_transformers_makes() -> None:
    own = load_embedded(style="embedded", dtype="auto")
    theirs = load_model("embedded", style="embedded", device="cpu")
    assert own.encode(Prompt(TEXT)) == theirs.encode(Prompt(TEXT))
    tokens = own.encode_text(TEXT)
    assert tokens == theirs.encode_text(TEXT)
    assert own.decode(tokens) == theirs.decode(tokens)
    every = range(own.vocabulary_size)
    assert [own.token_text(token) for token in every] == [theirs.token_text(token) for token in every]


def test_loading_it_leaves_torchs_random_numbers_alone() -> None:
    before = torch.random.get_rng_state()
    load_embedded(style="embedded", dtype="auto")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_shipped_model_has_no_chat_template() -> None:
    with pytest.raises(UserError, match=r"its tokenizer has no chat template; use model.style=plain"):
        load_embedded(style="chat", dtype="auto")


def test_a_run_of_the_shipped_model_imports_neither_transformers_nor_what_compiles(tmp_path: Path) -> None:
    arguments = ["task=sorting", "task.limit=1", "search=single_sample", "display=none", "model.device=cpu"]
    program = f"""if True:
        import sys
        from treereason.cli.main import main
        assert main({[*arguments, f"hydra.run.dir={tmp_path}"]!r}) == 0
        print(sorted({{"transformers", "torch._dynamo", "sympy", "triton"}} & sys.modules.keys()))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
