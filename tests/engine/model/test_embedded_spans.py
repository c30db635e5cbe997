"""The shipped model with spans: its size, how it loads, and that it needs to see what it names."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import treereason
from treereason.core.spans import SpanGrammar, visible
from treereason.engine.model.load import load_model
from treereason.engine.model.shipped import SHIPPED
from treereason.tasks.arithmetic_spans import ArithmeticSpans
from treereason.tasks.generators import named_lines

FOLDER = SHIPPED["embedded_spans"].folder
PROBLEMS = ArithmeticSpans(operations=12, limit=10).problems(5)


def solved(grammar: SpanGrammar | None) -> int:
    """How many problems the network solves greedily: each token of the solution is the likeliest where it stands.

    By transformers, with the mask as a matrix.
    """
    network, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    right = 0
    for problem in PROBLEMS:
        solution = named_lines.solve(named_lines.parse_question(problem.input))
        asked, ids = tokenizer(problem.input)["input_ids"], tokenizer(problem.input + solution)["input_ids"]
        mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
        if grammar is not None:
            policy = grammar.policy(lambda text: tokenizer(text, add_special_tokens=False)["input_ids"])
            mask = torch.tensor(visible(policy, ids))
        with torch.inference_mode():
            said = network(input_ids=torch.tensor([ids]), attention_mask=mask[None, None]).logits[0].argmax(-1)
        right += said[len(asked) - 1 :].tolist() == [*ids[len(asked) :], tokenizer.eos_token_id]
    return right


def test_it_solves_with_spans_and_fails_when_it_reads_everything_or_is_blind() -> None:
    assert solved(ArithmeticSpans.spans) >= 8
    assert solved(None) <= 2
    assert solved(SpanGrammar(labels=())) == 0


def test_it_is_small_and_tells_how_it_was_made() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 2_000_000
    told = json.loads((FOLDER / "training.json").read_text())
    assert told["mask"] == "spans"
    assert told["seen"] >= told["tokens"]


def test_it_has_a_style_of_its_own_and_the_same_weights_by_transformers() -> None:
    quick, slow = treereason.load("embedded_spans"), load_model("embedded_spans", style="spans", device="cpu")
    assert (quick.style, quick.name) == ("spans", "embedded_spans")
    assert quick.encode_text("a0=41-7\n") == slow.encode_text("a0=41-7\n")
    assert quick.max_positions == slow.max_positions == 4096
    with pytest.raises(treereason.UserError, match=r"model\.name=embedded_spans: its tokenizer has no chat template"):
        treereason.load("embedded_spans", style="chat")
