"""Scorers without labels, by their definitions over the tokens of a whole path."""

from __future__ import annotations

import json
import math
from array import array
from pathlib import Path
from typing import Any

import pytest

import treereason as tr
from tests.fakes import run_search, slow
from treereason.cli.main import main
from treereason.core import Basis, Finish, Problem, Thought, TokenStatistics, basis_of
from treereason.scoring import codec
from treereason.scoring.builtin import SCORERS
from treereason.scoring.label_free import (
    LowestGroupConfidence,
    TailConfidence,
    confidence,
    entropy,
    likelihood,
    self_certainty,
)
from treereason.search import BestOfN, SelfConsistency

VALUES = [4.0, 1.0, 2.0, 6.0, 3.0]
STATISTICAL = ["entropy", "self_certainty", "confidence", "lowest_group_confidence", "tail_confidence"]


def path_of(*pieces: list[float], logprobs: list[float | None] | None = None) -> Thought:
    """A chain of thoughts; a piece holds one number per token, which is each of its statistics."""
    thought = Thought(Problem("p", 1))
    for values, logprob in zip(pieces, logprobs or [-1.0] * len(pieces), strict=True):
        numbers = TokenStatistics(*(array("f", values) for _ in range(3)))
        thought = Thought(
            thought.problem,
            (*thought.path, 0),
            (thought,),
            logprob=logprob,
            num_tokens=len(values),
            token_statistics=numbers,
        )
    return thought


def test_means_are_over_the_tokens_of_the_whole_path() -> None:
    thought = path_of(VALUES[:2], VALUES[2:], logprobs=[-0.5, -2.0])
    assert likelihood(thought) == pytest.approx(math.exp(-2.5 / 5))
    assert entropy(thought) == pytest.approx(math.exp(-16 / 5))
    assert self_certainty(thought) == confidence(thought) == pytest.approx(16 / 5)


@pytest.mark.parametrize(
    ("window", "lowest"), [(1, 1.0), (2, 1.5), (3, 7 / 3), (4, 12 / 4), (5, 16 / 5), (2048, 16 / 5)]
)
def test_the_lowest_group_slides_over_the_whole_path(window: int, lowest: float) -> None:
    assert LowestGroupConfidence(window)(path_of(VALUES[:2], VALUES[2:])) == pytest.approx(lowest)


@pytest.mark.parametrize(("tail", "mean"), [(1, 3.0), (4, 12 / 4), (5, 16 / 5), (2048, 16 / 5)])
def test_the_tail_may_reach_over_several_thoughts(tail: int, mean: float) -> None:
    assert TailConfidence(tail)(path_of(VALUES[:2], VALUES[2:])) == pytest.approx(mean)


def test_what_they_read_survives_the_way_to_another_process() -> None:
    thought = path_of(VALUES[:2], VALUES[2:])
    assert confidence(codec.load(codec.dump(thought))) == confidence(thought)


@pytest.mark.parametrize("name", ["likelihood", *STATISTICAL])
def test_a_given_text_is_scored_like_one_that_was_drawn(name: str) -> None:
    model, task = tr.load("embedded"), tr.tasks.Choices(limit=1)
    run = tr.run(task, tr.search.Choose(), model, scorer=name, baseline="none")
    assert (run.summary["thoughts_failed"], run.summary["tokens_decoded"]) == (0, 0)
    best, score = run.problems[0].best, run.problems[0].score
    assert best is not None
    assert best.finish is Finish.GIVEN
    assert score is not None
    assert score > 0
    if name == "likelihood":
        assert best.logprob is not None
        assert score == pytest.approx(math.exp(best.logprob / best.num_tokens))


@pytest.mark.parametrize("name", [name for name, scorer in SCORERS.items() if basis_of(scorer) is Basis.LABEL_FREE])
def test_what_cannot_be_told_is_said(name: str) -> None:
    scorer: Any = SCORERS[name]
    scorer = scorer() if isinstance(scorer, type) else scorer
    silent = path_of(VALUES, logprobs=[None])
    silent.token_statistics = None
    with pytest.raises(ValueError, match=r"server tells no log-prob|engine\.token_statistics=true turns them on"):
        scorer(silent)
    with pytest.raises(ValueError, match="it holds no token"):
        scorer(path_of([]))


@pytest.mark.parametrize("name", ["likelihood", "tail_confidence", *slow(*STATISTICAL[:-1])])
def test_every_task_has_them_by_name(name: str, tmp_path: Path) -> None:
    options = [
        "task=few_shot",
        "task.examples=2",
        "task.operations=2",
        "task.limit=2",
        "task.stepwise=true",
        "search=best_of_n",
        "search.n=3",
    ]
    assert main([*options, f"scorer={name}", "display=none", "baseline=none", f"hydra.run.dir={tmp_path}"]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["scorer"], summary["scorer_basis"], summary["thoughts_failed"]) == (name, "label_free", 0)
    assert (summary["guided_by"], summary["guided_by_basis"]) == ([name], ["label_free"])
    first = json.loads((tmp_path / "results.jsonl").read_text().splitlines()[0])
    assert (first["guided_by"], first["guided_by_basis"]) == ([name], ["label_free"])
    assert first["score"] > 0


def test_options_of_deepconf_reach_their_scorers(tmp_path: Path) -> None:
    def scores(folder: str, *options: str) -> list[float]:
        run = ["task=few_shot", "task.examples=1", "task.operations=2", "task.limit=2", "search=single_sample"]
        run += ["baseline=none", *options]
        assert main([*run, "display=none", f"hydra.run.dir={tmp_path / folder}"]) == 0
        return [json.loads(line)["score"] for line in (tmp_path / folder / "results.jsonl").read_text().splitlines()]

    narrow = scores("narrow", "scorer=lowest_group_confidence", "confidence.window=1")
    wide = scores("wide", "scorer=lowest_group_confidence")
    assert all(low < high for low, high in zip(narrow, wide, strict=True))
    assert scores("tail", "scorer=tail_confidence", "confidence.tail=1") != scores("whole", "scorer=tail_confidence")
    assert wide == scores("mean", "scorer=confidence")


def test_a_run_without_such_a_scorer_computes_none() -> None:
    model = tr.load("embedded")
    task, search = tr.tasks.FewShot(limit=1), tr.search.BestOfN(n=2)
    plain = tr.run(task, search, model, baseline="none")
    asked = tr.run(task, search, model, baseline="none", token_statistics=True)
    texts = [[thought.text for thought in run.problems[0].thoughts] for run in (plain, asked)]
    assert texts[0] == texts[1]
    assert all(thought.token_statistics is None for thought in plain.problems[0].thoughts)
    for thought in asked.problems[0].thoughts:
        assert thought.token_statistics is not None
        assert len(thought.token_statistics) == thought.cost.tokens_decoded


def test_one_seed_gives_the_same_bytes_however_much_decodes_at_once(tmp_path: Path) -> None:
    options = [
        "task=few_shot",
        "task.examples=2",
        "task.operations=3",
        "task.limit=2",
        "search=best_of_n",
        "search.n=3",
        "baseline=none",
        "scorer=self_certainty",
        "engine.deterministic=true",
    ]
    sizes = {"a": (8, 16, 64), "b": (2, 64, 1)}  # the rows of a step are the same
    for folder, (branches, prefill, problems) in sizes.items():
        sized = [f"engine.max_branches={branches}", f"engine.prefill_tokens={prefill}"]
        sized.append(f"engine.parallel_problems={problems}")
        assert main([*options, *sized, "display=none", f"hydra.run.dir={tmp_path / folder}"]) == 0
    first, second = ((tmp_path / folder / "results.jsonl").read_bytes() for folder in sizes)
    assert first == second


def test_label_free_scores_weigh_votes_and_choose_among_samples() -> None:
    texts = {0: "3", 1: "3", 2: "7"}
    sure = {"3": -3.0, "7": -0.1}  # one letter is one token
    options: dict[str, Any] = {"scorer": lambda thought: tr.Score(likelihood(thought)), "likely": sure.__getitem__}
    weighted = run_search(SelfConsistency(n=3, vote="weighted"), lambda path: texts[path[0]], **options)
    assert weighted.done.answer == 7
    assert run_search(BestOfN(n=3), lambda path: texts[path[0]], **options).done.answer == 7
    assert run_search(SelfConsistency(n=3), lambda path: texts[path[0]], **options).done.answer == 3


def test_options_of_scorers_are_given_from_python_by_group() -> None:
    model, task, search = tr.load("embedded"), tr.tasks.FewShot(limit=1), tr.search.SingleSample()
    narrow, wide = (
        tr.run(
            task,
            search,
            model,
            scorer="lowest_group_confidence",
            scorer_options={"confidence": {"window": window}},
            baseline="none",
        ).mean_score
        for window in (1, 2048)
    )
    assert narrow is not None
    assert wide is not None
    assert narrow < wide
    with pytest.raises(tr.UserError, match=r"no option is called confidence\.windows"):
        tr.run(task, search, model, scorer_options={"confidence": {"windows": 1}})
