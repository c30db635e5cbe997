"""The training package: tokenizer, data, a short run through the command line, and the shipped checkpoint."""

import random
import runpy
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from tools.embedded_model import (
    attempts,
    card,
    data,
    evaluate,
    lists,
    model,
    numbers,
    settings,
    tokenizer,
    train,
    verdicts,
)
from treereason.config.options import options
from treereason.core import UserError
from treereason.engine.model.load import EMBEDDED
from treereason.tasks.generators import arithmetic, contracts

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


def test_an_answer_alone_is_not_learned_before_an_example_shows_it() -> None:
    alone = 0
    for seed in range(300):
        first, (solution, learned), *_ = data._arithmetic_maker(random.Random(seed), 1.0)()
        assert not first[1]
        alone += solution.startswith("A")
        assert learned is not solution.startswith("A")
    assert alone > 10


def as_lists(step: int, seed: int) -> list[tuple[Any, Any]]:
    return [(batch.ids.tolist(), batch.targets.tolist()) for batch in data.make_step(seed, step, 300, 10)]


def test_data_depends_on_seed_and_step_alone() -> None:
    first = as_lists(7, seed=1)
    assert len(first) == len(data.step_plan(())) == len(data.STEP_PLAN) - data.STEP_PLAN.count("verdicts")
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


@given(st.integers(0, 1000), st.integers(2, 16))
def test_meet_problems_ask_for_what_is_in_both_sets(seed: int, count: int) -> None:
    prompt, answer = numbers.meet_problem(random.Random(seed), count)
    left, right = (set(side.split()) for side in prompt.removeprefix("meet ").removesuffix("=").split("+"))
    assert answer.split() == sorted(left & right, key=int)
    assert tokenizer.UNK not in tokenizer.encode_text(prompt + answer)


@given(st.integers(0, 200), st.integers(3, 4))
def test_countdown_solutions_reach_their_target_by_exact_steps(seed: int, count: int) -> None:
    prompt, answer = numbers.countdown_problem(random.Random(seed), count)
    assert numbers.reaches(prompt, answer)
    assert tokenizer.UNK not in tokenizer.encode_text(prompt + answer)
    left = sorted(prompt.removesuffix(":").split()[2:], key=int)
    for line in answer.split("\n"):
        operation, _, after = line.partition(",")
        expression, _, result = operation.partition("=")
        assert eval(expression) == int(result)
        for number in expression.replace("+", " ").replace("-", " ").replace("*", " ").replace("/", " ").split():
            left.remove(number)
        left = sorted([*left, result], key=int)
        assert after == " ".join(left)


@pytest.mark.parametrize(
    "text",
    ["", "1+2=3,4 6", "4*6=24,24", "4+1=5,5 6\n5*6=30,30", "6*4=24,1 24\n1*24=24,25", "6*4=24,1 24\n24*1=24,24\n"],
)
def test_a_wrong_way_reaches_no_target(text: str) -> None:
    assert not numbers.reaches("make 24 1 4 6:", text)
    assert numbers.reaches("make 24 1 4 6:", "6*4=24,1 24\n24*1=24,24")


def test_an_attempt_is_right_up_to_its_first_wrong_line() -> None:
    attempt = attempts.of_solution("2+4*5", "=2+20\n=23\nA23")
    assert attempt == attempts.Attempt("Q2+4*5\n", ["=2+20\n", "=23\n", "A23"], [True, False, False])
    assert attempt.up_to(True, random.Random(0)) == "=2+20\n"
    assert {attempt.up_to(False, random.Random(i)) for i in range(20)} == {"=2+20\n=23\n", "=2+20\n=23\nA23"}
    assert attempts.of_solution("2+4*5", "=2+20\n=22\nA2") == attempts.Attempt(
        "Q2+4*5\n", ["=2+20\n", "=22\n", "A2"], [True, True, False]
    )
    assert attempts.of_solution("2+4*5", "=2+20\n=22") is None
    assert attempts.of_list([3, 1], "13").up_to(False, random.Random(0)) is None


def test_attempts_survive_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_PROBLEMS", {"arithmetic": 2, "lists": 1})
    monkeypatch.setattr(attempts, "_OPERATIONS", (2,))
    monkeypatch.setattr(attempts, "_LENGTHS", (16,))
    monkeypatch.setattr(sys, "argv", ["attempts", str(tmp_path / "folder" / "attempts.jsonl")])
    attempts.main()
    found = attempts.read(tmp_path / "folder" / "attempts.jsonl")
    assert found == list(attempts.sampled({"arithmetic": 2, "lists": 1}))
    assert {attempt.prompt[:1] for attempt in found} == {"Q", "s"}


def test_a_question_computes_what_it_computes_at_the_end_of_its_own_text() -> None:
    torch.manual_seed(0)
    small = model.build_model(settings.ModelShape(width=32, heads=2, kv_heads=1, layers=2, feed_forward=32))
    made = attempts.of_solution("2+4*5", "=2+20\n=23\nA23")
    assert made is not None
    batch = data.tree_batch([verdicts.judged(made, "Q1+1\n=2\nA2\n"), verdicts.judged(attempts.of_list([3, 1], "13"))])
    with torch.inference_mode():
        logits = small(batch.ids, position_ids=batch.positions, attention_mask=batch.mask).logits
    asked = (batch.targets != data.IGNORED).nonzero().tolist()
    alone = [
        ("Q1+1\n=2\nA2\nQ2+4*5\n=2+20\n?", "+"),
        ("Q1+1\n=2\nA2\nQ2+4*5\n=2+20\n=23\n?", "-"),
        ("Q1+1\n=2\nA2\nQ2+4*5\n=2+20\n=23\nA23?", "-"),
        ("sort 31=13?", "+"),
    ]
    assert len(asked) == len(alone)
    for (row, column), (text, verdict) in zip(asked, alone, strict=True):
        with torch.inference_mode():
            own = small(torch.tensor([[tokenizer.BOS, *tokenizer.encode_text(text)]])).logits[0, -1]
        assert torch.allclose(logits[row, column], own, atol=1e-5)
        assert TOKENIZER.decode(batch.targets[row, column]) == verdict


def test_verdicts_are_drawn_from_solutions_and_lists() -> None:
    made = [attempts.of_list([3, 1], "31"), attempts.of_solution("2+4*5", "=2+20\n=23\nA23")]
    known = [attempt for attempt in made if attempt is not None]
    drawn = [verdicts.judged_maker(random.Random(seed), known)() for seed in range(60)]
    texts = {str(TOKENIZER.decode(one.ids)) for one in drawn}
    assert "<bos>sort 31=31?" in texts
    assert "<bos>Q2+4*5\n=2+20\n=23\nA23???" in texts
    assert any(text.startswith("<bos>Q") and text.count("Q") == 2 for text in texts)
    batch = data.make_micro_batch("verdicts", random.Random(0), 200, 1.0, known)
    assert batch.mask is not None
    assert 100 <= batch.ids.numel() <= 400


def test_weights_of_a_model_with_fewer_tokens_are_taken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = model.build_model(settings.ModelShape(width=32, heads=2, kv_heads=1, layers=1, feed_forward=32))
    start = model.build_model(settings.ModelShape(width=32, heads=2, kv_heads=1, layers=1, feed_forward=32))
    start.resize_token_embeddings(60)
    model.save_model(start, tmp_path)
    model.load_weights(small, tmp_path)
    rows, given = (each.state_dict()["model.embed_tokens.weight"] for each in (small, start))
    assert len(rows) == len(tokenizer.vocabulary())
    assert torch.equal(rows[:60], given.half().float())
    other = model.build_model(settings.ModelShape(width=64, heads=2, kv_heads=1, layers=1, feed_forward=32))
    with pytest.raises(UserError, match=r"has the shape .* not that of this model"):
        model.load_weights(other, tmp_path)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    assert model.learning_rate_factor(0, 0.0, 0.4) == pytest.approx(0.01)
    assert model.learning_rate_factor(9, 0.05, 0.4) == pytest.approx(0.5)
    assert model.learning_rate_factor(500, 0.001, 0.4) == 1
    assert model.learning_rate_factor(500, 0.5, 0.4) == 1
    assert model.learning_rate_factor(500, 0.8, 0.4) == pytest.approx(0.51)
    assert model.learning_rate_factor(500, 1.3, 0.4) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("minuts=1", "no option is called minuts; did you mean minutes?"),
        ("model.widht=1", "no option is called model.widht; did you mean model.width?"),
        ("minutes", "'minutes' is not of the form option=value"),
        ("minutes=0", "minutes=0: should be greater than 0"),
        ("decay=1.0", "decay=1.0: should be less than 1"),
        ("warm_up_steps=-1", "warm_up_steps=-1: should be greater than or equal to 0"),
        ("resume=perhaps", "resume=perhaps: should be a valid boolean, unable to interpret input"),
        ("model.head_width=3", "model.head_width=3: should be a multiple of 2"),
        ("model.kv_heads=3", "model.heads=8 is not a multiple of model.kv_heads=3"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option(given: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        settings.parse([given])
    assert str(refused.value) == message


def test_options_are_read_from_text() -> None:
    read = settings.parse(["minutes=3", "resume=true", "model.width=64", "output=runs/x", "output=runs/y"])
    shape = settings.ModelShape(width=64)
    assert read == settings.TrainingSettings(minutes=3.0, resume=True, model=shape, output="runs/y")


def test_help_lists_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    train.main(["--help"])
    listed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith("  "))
    known = options(settings.TrainingSettings)
    assert listed == {f"{option.name}={option.default}": option.description for option in known}
    assert all(option.description for option in known)


def test_resuming_goes_on_where_the_state_was_saved(tmp_path: Path) -> None:
    short = settings.TrainingSettings(output=str(tmp_path), smoke=True, tokens=100).sized()
    trainer = train.Trainer(short, Console(quiet=True))
    trainer.step(0.0)
    trainer.save()
    expected = trainer.step(0.5)
    resumed = train.Trainer(short.model_copy(update={"resume": True}), Console(quiet=True))
    assert resumed.progress.steps == 1
    assert resumed.step(0.5) == pytest.approx(expected, rel=1e-5)
    lost = short.model_copy(update={"resume": True, "output": str(tmp_path / "none")})
    with pytest.raises(UserError, match="nothing to resume"):
        train.Trainer(lost, Console(quiet=True))


def test_a_run_from_the_command_line_leaves_its_files_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train.main(["smoke=true", "minutes=0.02", "evaluation_problems=0", "output=run"])
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {
        *(f"run/model/{name}" for name in ("config.json", "generation_config.json", "model.safetensors")),
        *(f"run/model/{name}" for name in ("tokenizer.json", "tokenizer_config.json", "README.md")),
        "run/resume.pt",
    }
    assert "not measured" in (tmp_path / "run/model/README.md").read_text()


def test_a_short_training_learns_and_its_files_load(tmp_path: Path) -> None:
    short = settings.TrainingSettings(output=str(tmp_path), smoke=True).sized()
    trainer = train.Trainer(short, Console(quiet=True))
    batches = data.make_step(99, 0, 400, 100)
    with torch.inference_mode():
        before = mean(model.answer_loss(trainer.model, batch).item() for batch in batches)
    for step in range(60):
        trainer.step(step / 60)
    trainer.save()
    trained: Any = AutoModelForCausalLM.from_pretrained(trainer.folder)
    with torch.inference_mode():
        after = mean(model.answer_loss(trained, batch).item() for batch in batches)
    assert before > 3.5
    assert after < before - 1


def test_a_mistake_on_the_command_line_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "minuts=1"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(train.__file__), run_name="__main__")
    # What Python prints of a text that is no exit code, before it ends with 1.
    assert ended.value.code == "error: no option is called minuts; did you mean minutes?"
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


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


@pytest.mark.filterwarnings("error::FutureWarning")
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
