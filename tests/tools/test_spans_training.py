"""Training with spans: tokenizer, texts, masks and gaps, and a run of a few steps that is stopped and goes on."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tools.embedded_model.settings import ModelShape
from tools.spans_model import data, tokenizer, train
from treereason.core.spans import visible

SKILLS: tuple[data.Skill, ...] = ("arithmetic", "documents")
TOKENIZER = tokenizer.build_tokenizer(4096)


@pytest.mark.parametrize("skill", SKILLS)
def test_texts_survive_the_tokenizer_and_answers_alone_are_learned(skill: data.Skill) -> None:
    for seed in range(20):
        text = data.make_text(random.Random(seed), skill, gaps=False)
        decoded = TOKENIZER.decode(text.ids, skip_special_tokens=True)
        assert TOKENIZER(decoded)["input_ids"] == text.ids
        assert tokenizer.UNK not in text.ids
        learned = [target for target in text.targets if target != data.IGNORED]
        assert [*text.ids[-len(learned) + 1 :], tokenizer.EOS] == learned
        assert text.positions == list(range(len(text.ids)))


@pytest.mark.parametrize("skill", SKILLS)
def test_arms_have_the_same_text_and_the_engines_own_mask(skill: data.Skill) -> None:
    step = (skill, 3, 0, 600, 2)
    spans, full = (data.make_step(*step, mask, gaps=mask == "spans") for mask in ("spans", "full"))
    assert len(spans) == 2
    policy = data.GRAMMARS[skill].policy(tokenizer.encode_text)
    for one, other in zip(spans, full, strict=True):
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.targets, other.targets)
        for row, ids in enumerate(one.ids.tolist()):
            length = len(ids) - ids.count(tokenizer.PAD)
            seen = torch.tensor(visible(policy, ids[:length]))
            assert torch.equal(one.mask[row, 0, :length, :length], seen)
            assert torch.equal(other.mask[row, 0], torch.ones_like(other.mask[row, 0]).tril())


def test_with_gaps_only_the_starts_of_lines_jump() -> None:
    jumped = 0
    for seed in range(20):
        text = data.make_text(random.Random(seed), "arithmetic", gaps=True)
        for before, position, token in zip(text.positions, text.positions[1:], text.ids, strict=False):
            jump = position - before - 1
            assert jump >= 0
            assert jump == 0 or token in (data.NEWLINE, tokenizer.BOS)
            jumped += jump > 0
        assert text.positions[-1] < train.SHAPE.positions
    assert jumped > 50


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "STEP_TOKENS", 300)
    shape = ModelShape(width=32, layers=1, heads=2, kv_heads=1, head_width=16, feed_forward=32, positions=4096)
    arm = train.Arm("arithmetic", "spans", gaps=True, seed=0, tokens=1200)
    whole = train.Trainer(arm, tmp_path / "whole", shape=shape)
    whole.run()
    first = train.Trainer(arm, tmp_path / "parts", shape=shape)
    first.step()
    first.save()
    second = train.Trainer(arm, tmp_path / "parts", shape=shape)
    assert second.steps == 1
    second.run()
    for one, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
    told = json.loads((tmp_path / "parts" / "training.json").read_text())
    assert (told["mask"], told["seed"], told["steps"]) == ("spans", 0, whole.steps)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "parts" / "model")
    assert loaded.num_parameters() == told["parameters"]
    assert AutoTokenizer.from_pretrained(tmp_path / "parts" / "model")("a0=1")["input_ids"][0] == tokenizer.BOS
    with pytest.raises(SystemExit, match="is of another run"):
        train.Trainer(train.Arm("arithmetic", "full", gaps=True, seed=0, tokens=1200), tmp_path / "parts", shape=shape)
