"""The training package: tokenizer, data, a short run through the command line, and the shipped checkpoint."""

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

import treereason
from tools.embedded_model import card, data, evaluate, lists, model, settings, tokenizer, train
from treereason.tasks.generators import arithmetic, contracts

ROOT = Path(treereason.__file__).resolve().parent
EMBEDDED = ROOT / "embedded"
TOKENIZER = tokenizer.build_tokenizer(2048)


def text_of(seed: int) -> str:
    rng = random.Random(seed)
    pairs = [make(rng, rng.randint(4, 64)) for make in (lists.sort_problem, lists.merge_problem, lists.fix_problem)]
    expression = arithmetic.generate_expression(rng, rng.randint(1, 6))
    solved = arithmetic.solved_examples(rng, rng.randint(0, 8), 3, steps=rng.random() < 0.5)
    documents = contracts.generate_documents(rng, rng.randint(2, 4))
    merged = contracts.render_body(contracts.merge_documents(documents))
    pairs += [(arithmetic.few_shot_prompt(solved, expression), ""), (contracts.render_prompt(documents), merged)]
    return "".join(rng.choice(pairs))


@given(st.integers(0, 10_000))
def test_generated_text_survives_the_tokenizer(seed: int) -> None:
    text = text_of(seed)
    ids = TOKENIZER(text)["input_ids"]
    assert ids[0] == tokenizer.BOS
    assert tokenizer.UNK not in ids
    assert ids[1:] == tokenizer.encode_text(text)
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == text


def test_digits_and_words_are_one_token_each() -> None:
    pieces = TOKENIZER.convert_ids_to_tokens(tokenizer.encode_text("sort 12= Alice pays Bob 40 dollars;"))
    assert pieces == ["sort", " ", "1", "2", "=", " Alice", " pays", " Bob", " ", "4", "0", " dollars", ";"]
    assert tokenizer.encode_text("hello") == [tokenizer.UNK] == TOKENIZER("hello")["input_ids"][1:]


def test_only_answers_are_learned_and_each_ends() -> None:
    ids, targets = data.encode([("Q1+1\n", False), ("A2", True), ("\nQ2+2\n", False), ("A4", True)])
    assert TOKENIZER.decode(ids) == "<bos>Q1+1\nA2\nQ2+2\nA4"
    learned = [TOKENIZER.decode([t]) for t in targets if t != data.IGNORED]
    assert learned == ["A", "2", "<eos>", "A", "4", "<eos>"]
    assert len(ids) == len(targets)
    assert all(t in (ids[i + 1], tokenizer.EOS) for i, t in enumerate(targets[:-1]) if t != data.IGNORED)


def as_lists(step: int, seed: int) -> list[tuple[Any, Any]]:
    return [(batch.ids.tolist(), batch.targets.tolist()) for batch in data.make_step(seed, step, 300, 10)]


def test_data_depends_on_seed_and_step_alone() -> None:
    first = as_lists(7, seed=1)
    assert len(first) == len(data.STEP_PLAN)
    assert first == as_lists(7, seed=1)
    assert first != as_lists(8, seed=1)
    assert first != as_lists(7, seed=2)


@given(st.integers(0, 1000), st.integers(4, 64))
def test_list_problems_ask_for_the_sorted_digits(seed: int, count: int) -> None:
    rng = random.Random(seed)
    prompt, answer = lists.merge_problem(rng, count)
    left, right = prompt.removeprefix("merge ").removesuffix("=").split("+")
    assert sorted(left) == list(left)
    assert sorted(right) == list(right)
    assert sorted(left + right) == list(answer)
    prompt, answer = lists.fix_problem(rng, count)
    original, attempt = prompt.removeprefix("fix ").removesuffix("=").split(":")
    assert sorted(original) == list(answer)
    assert abs(len(attempt) - len(original)) <= 3


def test_the_learning_rate_rises_stays_and_falls() -> None:
    assert model.learning_rate_factor(0, 0.0, 0.4) == pytest.approx(0.01)
    assert model.learning_rate_factor(9, 0.05, 0.4) == pytest.approx(0.5)
    assert model.learning_rate_factor(500, 0.001, 0.4) == 1
    assert model.learning_rate_factor(500, 0.5, 0.4) == 1
    assert model.learning_rate_factor(500, 0.8, 0.4) == pytest.approx(0.51)
    assert model.learning_rate_factor(500, 1.3, 0.4) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"minutes": 0}, "minutes .* not 0"), ({"decay": 1.0}, "not 1.0"), ({"warm_up_steps": -1}, "not -1")],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings.TrainingSettings(**wrong)
    with pytest.raises(ValueError, match="kv_heads=3"):
        settings.ModelShape(kv_heads=3)


def test_resuming_goes_on_where_the_state_was_saved(tmp_path: Path) -> None:
    short = settings.TrainingSettings(output=str(tmp_path), smoke=True, tokens=100).sized()
    trainer = train.Trainer(short, Console(quiet=True))
    trainer.step(0.0)
    trainer.save()
    expected = trainer.step(0.5)
    resumed = train.Trainer(replace(short, resume=True), Console(quiet=True))
    assert resumed.progress.steps == 1
    assert resumed.step(0.5) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="nothing to resume"):
        train.Trainer(replace(short, resume=True, output=str(tmp_path / "none")), Console(quiet=True))


def test_a_short_training_learns_and_its_files_load(tmp_path: Path) -> None:
    options = ["smoke=true", "minutes=0.4", "evaluation_problems=0", f"output={tmp_path}/run"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.embedded_model.train", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        [
            *("config.json", "generation_config.json", "model.safetensors", "tokenizer.json"),
            *("tokenizer_config.json", "README.md", "resume.pt"),
        ]
    )
    folder = tmp_path / "run" / "model"
    assert "not measured" in (folder / "README.md").read_text()
    trained: Any = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(0)
    fresh = model.build_model(settings.TrainingSettings(smoke=True).sized().model)
    batches = data.make_step(99, 0, 400, 100)
    with torch.inference_mode():
        before = mean(model.answer_loss(fresh, batch).item() for batch in batches)
        after = mean(model.answer_loss(trained, batch).item() for batch in batches)
    assert before > 3.5
    assert after < before - 1


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.embedded_model.train", "minuts=1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "minuts" in done.stderr


def test_the_shipped_checkpoint_loads_and_sorts() -> None:
    torch.set_num_threads(1)
    loaded: Any = AutoModelForCausalLM.from_pretrained(EMBEDDED, output_loading_info=True)
    shipped, info = loaded
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert shipped.dtype == torch.float32
    words = AutoTokenizer.from_pretrained(EMBEDDED)
    assert words.get_vocab() == TOKENIZER.get_vocab()
    rng = random.Random(4)
    problems = [lists.sort_problem(rng, 32) for _ in range(8)]
    answers = evaluate.sample(shipped, words, [prompt for prompt, _ in problems], 40, 0.0)
    right = sum(answer == truth for (answer,), (_, truth) in zip(answers, problems, strict=True))
    assert right >= 7
    assert sum(path.stat().st_size for path in EMBEDDED.iterdir() if path.is_file()) < 8_000_000


def test_the_shipped_checkpoint_is_measured() -> None:
    torch.set_num_threads(1)
    shipped = AutoModelForCausalLM.from_pretrained(EMBEDDED)
    measuring = evaluate.Evaluator(shipped, AutoTokenizer.from_pretrained(EMBEDDED), 8)
    fixed = measuring.lists("fix", lists.fix_problem, 12)
    assert fixed.scores["greedy"] > 0.8
    solved = measuring.arithmetic(1, 2, steps=True, samples=3).scores
    assert solved["greedy"] > 0.7
    assert solved["one sample"] <= solved["any of 3"]
    merged = measuring.documents(2, samples=2).scores
    assert 0.5 < merged["one sample"] <= merged["best of 2"] <= 1
    written = card.render_card([fixed], parameters=1, seed=2, steps=3, tokens=4, minutes=5.0, threads=6)
    assert f"| fix 12 digits | 8 | greedy {fixed.scores['greedy']:.3f}, one sample" in written
