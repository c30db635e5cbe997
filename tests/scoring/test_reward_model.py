"""Reward models give transformers' own scores, and compute what thoughts share once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    MistralConfig,
    MistralForSequenceClassification,
    MistralForTokenClassification,
    PreTrainedTokenizerFast,
)

from tests.fakes import COMMON
from tests.lanes import slow_case
from treereason.cli.main import main
from treereason.core import Finish, Problem, Thought, UserError
from treereason.scoring import reward_model
from treereason.scoring.reward_model import RewardModel

LETTERS = [chr(code) for code in range(32, 127)] + ["\n", "é"]
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] | trim }}<end>\n{% endfor %}"
SIZES: dict[str, Any] = {**COMMON, "vocab_size": len(LETTERS) + 1, "pad_token_id": None}
NARROW = {"sliding_window": 6}
MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama sequence": (LlamaForSequenceClassification, LlamaConfig, {}),
    "mistral sequence": (MistralForSequenceClassification, MistralConfig, NARROW),
    "llama token": (LlamaForTokenClassification, LlamaConfig, {}),
    "mistral token": (MistralForTokenClassification, MistralConfig, NARROW),
}
STEPS = ["2+3=5", "5*2=10", "The answer is 10."]


def saved(folder: Path, kind: str, labels: int = 1, template: str | None = None) -> tuple[Any, Any]:
    """A random reward model in a folder; the network and the tokenizer as transformers uses them."""
    torch.manual_seed(0)
    network_class, config_class, own = MODELS[kind]
    network = network_class(config_class(**SIZES, **own, num_labels=labels)).eval()
    torch.nn.init.normal_(network.score.weight)
    network.save_pretrained(folder)
    letters: Any = Tokenizer(WordLevel({letter: i for i, letter in enumerate([*LETTERS, "<unk>"])}, unk_token="<unk>"))
    letters.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=letters, unk_token="<unk>", chat_template=template)
    tokenizer.save_pretrained(folder)
    return network, tokenizer


def chain(*steps: str, question: str = "What is (2+3)*2?") -> list[Thought]:
    """The thoughts of a path, each of one line."""
    problem = Problem(question, question)
    thoughts = [Thought(problem)]
    for i, step in enumerate(steps):
        above = thoughts[-1]
        thoughts.append(
            Thought(problem, (*above.path, 0), (above,), step, appended=i > 0, finish=Finish.STOP, stop="\n")
        )
    return thoughts[1:]


def score(model: RewardModel, thought: Thought) -> float:
    """Of a thought alone."""
    [value] = model([thought])
    return value


def by_transformers(network: Any, tokenizer: Any, text: str) -> torch.Tensor:
    """Logits of the whole text at once."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits: torch.Tensor = network(torch.tensor([ids])).logits[0]
    return logits


@pytest.mark.parametrize("kind", ["llama sequence", "mistral sequence"])
@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_a_sequence_has_the_score_of_transformers(kind: str, template: str | None, tmp_path: Path) -> None:
    network, tokenizer = saved(tmp_path, kind, template=template)
    model = RewardModel(str(tmp_path))
    for count, thought in enumerate(chain(*STEPS), start=1):
        solution = "".join(f"{step}\n" for step in STEPS[:count])
        text = f"What is (2+3)*2?\n{solution}"
        if template is not None:
            text = f"<user>What is (2+3)*2?<end>\n<assistant>{solution.strip()}<end>\n"
        assert score(model, thought) == pytest.approx(by_transformers(network, tokenizer, text).item(), abs=1e-4)


def test_of_two_labels_the_second_is_the_good_one(tmp_path: Path) -> None:
    network, tokenizer = saved(tmp_path, "llama sequence", labels=2)
    want = by_transformers(network, tokenizer, "What is (2+3)*2?\n2+3=5\n").softmax(dim=-1)[1].item()
    assert score(RewardModel(str(tmp_path)), chain(STEPS[0])[0]) == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize(("kind", "labels"), [("mistral token", 2), ("llama token", 1)])
@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_steps_are_scored_at_their_last_tokens_and_aggregated(
    kind: str, labels: int, template: str | None, tmp_path: Path
) -> None:
    network, tokenizer = saved(tmp_path, kind, labels, template)
    head = "What is (2+3)*2?\n" if template is None else "<user>What is (2+3)*2?<end>\n<assistant>"
    solution = "\n".join(STEPS) + ("\n" if template is None else "")  # which the chat template takes away
    logits = by_transformers(network, tokenizer, head + solution)
    shares = logits.sigmoid()[:, 0] if labels == 1 else logits.softmax(dim=-1)[:, 1]
    ends = [len(head + "".join(f"{step}\n" for step in STEPS[:count])) - 1 for count in (1, 2)] + [len(logits) - 1]
    scores = [shares[end].item() for end in ends]
    whole = chain(*STEPS)[-1]
    in_one = chain("\n".join(STEPS))[0]
    want = {"last": scores[-1], "min": min(scores), "prod": math.prod(scores), "mean": sum(scores) / 3}
    for aggregate, value in want.items():
        model = RewardModel(str(tmp_path), aggregate)
        assert score(model, whole) == pytest.approx(value, abs=1e-4)
        assert score(model, in_one) == pytest.approx(value, abs=1e-4), "a whole answer of the same lines"


def test_steps_may_be_paragraphs(tmp_path: Path) -> None:
    saved(tmp_path, "llama token")
    thought = chain("one\nstep\n\nanother\n")[0]
    lines, paragraphs = (
        score(RewardModel(str(tmp_path), "prod", step=step), thought) for step in ("line", "paragraph")
    )
    assert lines != paragraphs
    assert reward_model._step_ends("one\nstep\n\nanother\n", "\n\n") == [10, 18]
    assert reward_model._step_ends("one\nstep\n\nanother", "\n") == [4, 9, 17]


def test_what_thoughts_share_is_computed_once_whatever_is_scored_between(tmp_path: Path) -> None:
    saved(tmp_path, "llama sequence")
    alone, busy = RewardModel(str(tmp_path)), RewardModel(str(tmp_path))
    counted: list[int] = []
    forward = busy._body.forward

    def counting(ids: torch.Tensor, *rest: Any) -> Any:
        counted.append(ids.shape[1])
        return forward(ids, *rest)

    busy._body.forward = counting
    other = chain(*STEPS, question="Another question")
    for thought, between in zip(chain(*STEPS), other, strict=True):
        score(busy, between)
        counted.clear()
        assert score(busy, thought) == score(alone, thought), "the same bits"
        assert sum(counted) <= len(thought.text) + 2 + 17 * (thought.depth == 1)


def test_kv_that_was_dropped_is_computed_again_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, "llama token")
    roomy = [score(RewardModel(str(tmp_path), "prod"), thought) for thought in chain(*STEPS)]
    monkeypatch.setattr(reward_model, "MOST_KV_TOKENS", 20)
    tight = RewardModel(str(tmp_path), "prod")
    assert [score(tight, thought) for thought in chain(*STEPS)] == roomy
    assert len(tight._known) == 1


def test_a_text_beyond_the_models_positions_fails_alone(tmp_path: Path) -> None:
    saved(tmp_path, "llama sequence")
    model = RewardModel(str(tmp_path))
    with pytest.raises(ValueError, match="tokens: the reward model takes 256"):
        score(model, chain("x" * 300)[0])
    assert math.isfinite(score(model, chain("x")[0]))


def test_a_step_without_text_has_no_score(tmp_path: Path) -> None:
    saved(tmp_path, "llama token")
    with pytest.raises(ValueError, match="there is no step to score"):
        score(RewardModel(str(tmp_path)), Thought(Problem("p", "?"), (0,), (Thought(Problem("p", "?")),), "", stop=""))


# A run starts a scorer that imports transformers.
@pytest.mark.parametrize(("at_once", "batch_size"), [((64,), 8), slow_case((1, 64), 1)])
def test_a_run_is_guided_by_a_reward_model(at_once: tuple[int, ...], batch_size: int, tmp_path: Path) -> None:
    saved(tmp_path / "reward", "mistral token", 2)
    task = ["task=few_shot", "task.examples=2", "task.stepwise=true", "task.operations=2", "task.limit=2"]
    task.append("search=tree_of_thoughts")
    scored = ["scorer=reward_model", f"reward.model={tmp_path / 'reward'}", "reward.aggregate=min"]
    scored.append(f"reward.batch_size={batch_size}")
    for parallel in at_once:
        where = [f"hydra.run.dir={tmp_path / str(parallel)}", f"engine.parallel_problems={parallel}", "display=none"]
        assert main([*task, *scored, *where, "search.k=2", "search.steps=3", "baseline=none"]) == 0
    summary = json.loads((tmp_path / "64" / "summary.json").read_text())
    assert (summary["thoughts_failed"], summary["guided_by"], summary["guided_by_basis"]) == (
        0,
        ["reward_model"],
        ["judge"],
    )
    assert ("reward.batch_size" in summary["repeats"]) == (batch_size > 1)
    assert len({(tmp_path / str(parallel) / "results.jsonl").read_bytes() for parallel in at_once}) == 1


def config_only(folder: Path, **fields: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


def test_a_folder_that_cannot_be_served_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    causal = tmp_path / "causal"
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(causal)
    (tmp_path / "empty").mkdir()
    told = {
        None: "reward.model is missing: give reward.model=FOLDER",
        tmp_path / "nowhere": "no such folder",
        tmp_path / "empty": "the folder has no config.json",
        causal: "its architecture is ['LlamaForCausalLM']: a reward model ends with ForSequenceClassification or",
        config_only(tmp_path / "pickled", architectures=["LlamaForTokenClassification"]): "are not in safetensors",
        config_only(tmp_path / "vague", architectures="x"): "its architecture is x",
    }
    capsys.readouterr()
    for folder, said in told.items():
        given = [] if folder is None else [f"reward.model={folder}"]
        assert main(["task=few_shot", "search=best_of_n", "scorer=reward_model", *given]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("treereason: error: scorer=reward_model: reward.model")
        assert said in line


def refused(folder: Path) -> str:
    """What a run with this reward model is told before it starts."""
    config = SimpleNamespace(reward=SimpleNamespace(model=str(folder)))
    return RewardModel.refusal(None, config) or ""


def test_a_head_that_is_missing_or_of_three_labels_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    saved(tmp_path / "whole", "llama sequence", labels=2)
    assert refused(tmp_path / "whole") == ""
    headless = tmp_path / "headless"
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(headless)
    config = json.loads((headless / "config.json").read_text())
    (headless / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForSequenceClassification"]}))
    assert "its head is missing: there is no score.weight; needs a causal model" in refused(headless)
    saved(tmp_path / "three", "llama sequence", labels=3)
    assert "its head gives 3 labels; needs a causal model with a head called score of 1 or 2" in refused(
        tmp_path / "three"
    )
    (tmp_path / "whole" / "model.safetensors").write_bytes(b"cut off")
    assert "its weights cannot be read: " in refused(tmp_path / "whole")


def test_a_weight_that_would_be_random_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, "llama sequence")
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"the checkpoint lacks model\.norm\.weight, which would be random"):
        RewardModel(str(tmp_path))


@pytest.mark.parametrize("template", [None, TEMPLATE])
@pytest.mark.parametrize("kind", MODELS)
def test_a_padded_batch_gives_the_scores_of_each_alone(kind: str, template: str | None, tmp_path: Path) -> None:
    saved(tmp_path, kind, template=template)
    long, short = chain(*STEPS), chain("a", "much longer step than the others", question="?")
    told = [long[0], short[1], long[2], short[0], chain("x" * 90)[0], long[0]]
    alone = [score(RewardModel(str(tmp_path)), thought) for thought in told]
    together = RewardModel(str(tmp_path), batch_size=8)
    assert together(told) == pytest.approx(alone, abs=1e-4)
    known = len(together._known)
    assert together(told[::-1]) == pytest.approx(alone[::-1], abs=1e-4), "from the KV that is there"
    assert len(together._known) == known


def test_a_batch_computes_what_its_thoughts_share_once(tmp_path: Path) -> None:
    saved(tmp_path, "llama sequence")
    model = RewardModel(str(tmp_path), batch_size=4)
    shapes: list[tuple[int, ...]] = []
    forward = model._body.forward

    def counting(ids: torch.Tensor, *rest: Any) -> Any:
        shapes.append(tuple(ids.shape))
        return forward(ids, *rest)

    model._body.forward = counting
    parent = chain(STEPS[0])[0]
    children = [
        Thought(parent.problem, (0, i), (parent,), text, appended=True, finish=Finish.STOP, stop="\n")
        for i, text in enumerate(["5*2=10", "5*2=11", "5*2=10", "5+5=10 and no more"])
    ]
    model(children)
    question = len("What is (2+3)*2?\n")
    assert shapes == [(1, question), (1, len("2+3=5\n")), (3, len("5+5=10 and no more\n"))]


@pytest.mark.slow
def test_a_run_scores_in_batches_and_says_that_last_digits_depend_on_them(tmp_path: Path) -> None:
    saved(tmp_path / "reward", "llama sequence")
    task = ["task=few_shot", "task.examples=1", "task.operations=2", "task.limit=3", "search=best_of_n", "search.n=4"]
    scored = ["scorer=reward_model", f"reward.model={tmp_path / 'reward'}", "baseline=none", "display=none"]
    scores = []
    for size in (1, 8):
        folder = tmp_path / str(size)
        assert main([*task, *scored, f"reward.batch_size={size}", f"hydra.run.dir={folder}"]) == 0
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["thoughts_failed"] == 0
        assert ("reward.batch_size" in summary["repeats"]) == (size > 1)
        scores.append([json.loads(line)["score"] for line in (folder / "results.jsonl").read_text().splitlines()])
    assert scores[-1] == pytest.approx(scores[0], abs=1e-4)
