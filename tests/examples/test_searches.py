"""The searches and the judge in examples/, each beside the same thing computed in another way."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

import treereason as tr
from tests.fakes import ROOT, run_search
from treereason.cli.main import main
from treereason.config import plugins as plugins_file
from treereason.config.user_files import load
from treereason.engine.model.load import EMBEDDED

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module", autouse=True)
def _names_of_this_file_alone() -> Iterator[None]:
    """What the examples register is no plug-in of other tests."""
    before = dict(plugins_file._registered)
    yield
    plugins_file._registered.clear()
    plugins_file._registered.update(before)


def example(name: str) -> Any:
    return load(f"{EXAMPLES / name}")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 46


@pytest.mark.parametrize("name", ["rising_temperature", "reward_model", "judge"])
def test_a_search_or_judge_takes_at_most_40_lines(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 40


def test_rising_temperature_takes_one_sample_each_until_a_score_is_final() -> None:
    search = example("rising_temperature.py:RisingTemperature")
    outcome = run_search(search(), lambda path: "9" if path == (2,) else "3")
    assert [request.sampling.temperature for request in outcome.engine.expansions] == [0.0, 0.3, 0.7]
    assert outcome.done.best == (2,)
    outcome = run_search(search(temperatures=(0.5, 1.0)), lambda _: "3")
    assert [request.sampling.temperature for request in outcome.engine.expansions] == [0.5, 1.0]


def test_the_registered_search_has_a_name(tmp_path: Path) -> None:
    named = [f"plugins={EXAMPLES}/rising_temperature.py", "search=rising_temperature"]
    fast = ["task.limit=2", "task.length=8", "display=none", "baseline=none", "engine.threads=1"]
    assert main([*named, *fast, f"hydra.run.dir={tmp_path}"]) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["problems_done"] == 2


def test_the_configuration_in_a_folder_runs(tmp_path: Path) -> None:
    chosen = [f"--config-dir={EXAMPLES}/conf", "+experiment=mine", "task.limit=2"]
    assert main([*chosen, "display=none", "engine.threads=1", f"hydra.run.dir={tmp_path}"]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["problems_done"], summary["failed"]) == (2, 0)
    assert summary["seed"] == 7


def test_the_reward_model_scores_as_transformers_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    sizes: Any = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    sizes |= {"vocab_size": len(tokenizer), "num_labels": 1, "pad_token_id": tokenizer.pad_token_id}
    classifier: Any = LlamaForSequenceClassification
    torch.manual_seed(0)
    network = classifier(LlamaConfig(**sizes)).eval()
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    reference = f"{EXAMPLES}/reward_model.py:RewardModel"
    monkeypatch.delenv("REWARD_MODEL", raising=False)
    with pytest.raises(tr.UserError, match="set REWARD_MODEL to the folder"):
        load(reference)()
    monkeypatch.setenv("REWARD_MODEL", str(tmp_path))
    task, search = tr.tasks.Sorting(length=6, limit=2), tr.search.BestOfN(n=3)
    run = tr.run(task, search, tr.load("embedded"), scorer=reference, baseline="none", scorer_load_timeout_s=300)
    scored = [thought for problem in run.problems for thought in problem.thoughts if thought.depth == 1]
    assert len(scored) == 6
    for thought in scored:
        with torch.inference_mode():
            wanted = network(**tokenizer(thought.transcript(), return_tensors="pt")).logits.item()
        assert thought.score is not None
        assert thought.score.value == pytest.approx(wanted, abs=1e-5)
    assert not run.summary["oracle_guided"]


@pytest.fixture(scope="module")
def by_transformers() -> Any:
    """Log-probability of a text behind a prompt on the shipped model, by transformers alone."""
    network: Any = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)

    def logprob(prompt: str, text: str) -> float:
        before = tokenizer(prompt)["input_ids"]
        own = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = network(torch.tensor([before + own])).logits[0, len(before) - 1 : -1]
        return float(logits.log_softmax(-1).gather(1, torch.tensor(own)[:, None]).sum())

    return logprob


def test_the_judge_is_the_models_own_log_probability(by_transformers: Any) -> None:
    judge = example("judge.py:judge")
    assert inspect.iscoroutinefunction(judge)
    run = tr.run(
        tr.tasks.Sorting(length=12, limit=3), tr.search.BestOfN(n=3), tr.load("embedded"), scorer=judge, baseline="none"
    )
    scored = [thought for problem in run.problems for thought in problem.thoughts if thought.depth == 1]
    assert len(scored) == 9
    for thought in scored:
        given, attempt = ("".join(map(str, digits)) for digits in (thought.problem.input, thought.answer))
        assert thought.score is not None
        assert thought.score.value == pytest.approx(by_transformers(f"fix {given}:{attempt}=", attempt), abs=1e-3)
    assert not run.summary["oracle_guided"]
