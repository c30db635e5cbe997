"""The engine on the Triton kernels, run by Triton's interpreter in a process of its own: same logits as in torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

from tests.fakes import ROOT

SCRIPT = """
import torch
from transformers import AutoModelForCausalLM, Gemma2Config
from tests.fakes import ROOT
from treereason.core import Expansion, Prompt, Sampling
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel

class Letters:
    eos_token_id = 63
    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [(ord(letter) - 32) % 63 for letter in text]}
    def decode(self, tokens, skip_special_tokens=True):
        return "".join(chr(token + 32) for token in tokens)

torch.manual_seed(0)
network = AutoModelForCausalLM.from_config(Gemma2Config(
    vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=32, max_position_embeddings=256, initializer_range=0.15, sliding_window=6,
    attn_logit_softcapping=1.0, query_pre_attn_scalar=32), dtype=torch.float32)
model = LanguageModel(network, Letters(), "plain")
logits = {}
forward = model.forward
for attention in ("tree", "triton"):
    seen = logits.setdefault(attention, [])
    model.forward = lambda step, rows: seen.append(forward(step, rows)) or seen[-1]
    engine = Engine(model, seed=0, max_branches=8, prefill_tokens=64, kv_tokens=512, attention=attention)
    for problem in "ab":
        prompt = Prompt("ASK " + problem, shared="THE SHARED HEAD OF ALL, ", max_tokens=3, ignore_end=True)
        engine.submit(Expansion(problem, (), prompt, ((0,), (1,)), Sampling(1.0)))
    while engine.busy:
        engine.step()
    engine.submit(Expansion("a", (0,), Prompt(" GO ON", appended=True, max_tokens=2), ((0, 0),), Sampling(1.0)))
    while engine.busy:
        engine.step()
assert len(logits["tree"]) == len(logits["triton"]) > 4
print(max((a - b).abs().max().item() for a, b in zip(logits["tree"], logits["triton"])))
"""


def test_the_engine_on_triton_kernels_equals_the_torch_backend() -> None:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert float(run.stdout) < 1e-5
