"""A run that was cut off behind any event goes on, and ends as if nothing had happened."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.controller.interrupting import SORTING, STEPS, copied_until, go_on, results, spec_of, told
from treereason import events
from treereason.cli.run import prepare
from treereason.controller.experiment import run_experiment
from treereason.controller.model import load
from treereason.core import Thought, Tree, UserError
from treereason.engine.model.language_model import LanguageModel
from treereason.record.begun_run import begun_run
from treereason.record.journal import NAME, last_run, read, read_rows, read_timed

CASES: dict[str, dict[str, Any]] = {
    "tree_of_thoughts": {"task": SORTING, "search": {"name": "tree_of_thoughts", "k": 3}},
    "pieces": {"task": SORTING, "search": {"name": "successive_halving"}, "scorer": "likelihood"},
    "judge": {"task": SORTING, "search": {"name": "best_of_n", "n": 2}, "scorer": "judge_yes_no"},
    "steps": {"task": STEPS, "search": {"name": "mcts"}, "scorer": "steps_hold", "baseline": "none"},
    "small_pool": {
        "task": STEPS, "search": {"name": "beam"}, "scorer": "steps_hold", "baseline": "none",
        "engine": {"threads": 1, "kv_tokens": 1200},
    },
    "joins": {"task": {**SORTING, "length": 32}, "search": {"name": "graph_of_thoughts"}},
    "shared_prefix": {"task": {**STEPS, "stepwise": False}, "search": {"name": "self_consistency", "n": 4}},
    "statistics": {"task": SORTING, "search": {"name": "best_of_n", "n": 3}, "scorer": "tail_confidence"},
    "tokens": {"task": SORTING, "search": {"name": "tree_of_thoughts", "k": 3}, "budget": {"tokens": 60}},
    "refine": {"task": SORTING, "search": {"name": "refine"}},
    "rebase": {"task": STEPS, "search": {"name": "rebase"}, "scorer": "steps_hold", "baseline": "none"},
    "kv_of_a_tree": {"task": STEPS, "search": {"name": "ets"}, "scorer": "steps_hold", "baseline": "none"},
    "particles": {"task": STEPS, "search": {"name": "particle_filtering"}, "scorer": "steps_hold", "baseline": "none"},
}  # fmt: skip
ORDINARY = {"tree_of_thoughts": 4, "pieces": 4, "judge": 3, "steps": 3, "small_pool": 3}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load(spec_of(**CASES["tree_of_thoughts"]).config.model)  # type: ignore[return-value]


@pytest.mark.parametrize("case", ORDINARY)
def test_a_run_that_was_cut_off_goes_on_as_if_nothing_had_happened(
    case: str, model: LanguageModel, tmp_path: Path
) -> None:
    ends_as_if_whole(case, ORDINARY[case], model, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_cut_off_anywhere_goes_on_as_if_nothing_had_happened(
    case: str, model: LanguageModel, tmp_path: Path
) -> None:
    ends_as_if_whole(case, 40, model, tmp_path)


def ends_as_if_whole(case: str, num_cuts: int, model: LanguageModel, folder: Path) -> None:
    spec, whole = spec_of(**CASES[case]), folder / "whole"
    run_experiment(spec, model, whole)
    last = max(row.id for row in read_rows(whole / NAME))
    for row in random.Random(case).sample(range(1, last), min(num_cuts, last - 1)):
        cut = copied_until(row, whole, folder / "cut")
        summary = go_on(spec, model, cut)
        assert results(cut) == results(whole), f"cut behind event {row} of {last}"
        assert told(cut) == told(whole), f"cut behind event {row} of {last}"
        assert summary["status"] == "done"


def test_a_run_goes_on_with_drafts_and_without(model: LanguageModel, tmp_path: Path) -> None:
    plain = spec_of(**CASES["tree_of_thoughts"])
    drafted = spec_of(**CASES["tree_of_thoughts"], speculative="siblings")
    run_experiment(plain, model, tmp_path / "plain")
    run_experiment(drafted, model, tmp_path / "drafted")
    for before, after in (("plain", drafted), ("drafted", drafted), ("drafted", plain)):
        cut = copied_until(40, tmp_path / before, tmp_path / "cut")
        summary = go_on(after, model, cut)
        assert results(cut) == results(tmp_path / "plain")
        assert ("speculative" in summary) == (after is drafted)


def test_a_run_under_attention_spans_goes_on(tmp_path: Path) -> None:
    spec = prepare(
        {
            "model": {"name": "embedded_spans", "style": "spans", "dtype": "float32"},
            "engine": {"threads": 1},
            "display": "none",
            "task": {"name": "arithmetic_spans", "limit": 2},
            "search": {"name": "best_of_n", "n": 3},
            "baseline": "none",
        }
    )
    model = load(spec.config.model)
    assert isinstance(model, LanguageModel)
    run_experiment(spec, model, tmp_path / "whole")
    for row in (6, 12):
        cut = copied_until(row, tmp_path / "whole", tmp_path / "cut")
        assert go_on(spec, model, cut)["kv_tokens_read_spans"] > 0
        assert results(cut) == results(tmp_path / "whole")
        assert told(cut) == told(tmp_path / "whole")


def test_the_journal_of_a_run_that_went_on_holds_one_run_whose_clock_stood_meanwhile(
    model: LanguageModel, tmp_path: Path
) -> None:
    spec, whole = spec_of(**CASES["tree_of_thoughts"]), tmp_path / "whole"
    run_experiment(spec, model, whole)
    cut = copied_until(40, whole, tmp_path / "cut")
    before = sum(event.seconds for event in read(cut / NAME) if isinstance(event, events.StepDone))
    summary = go_on(spec, model, cut)
    found = [event for _, event in last_run(read_timed(cut / NAME))]
    assert isinstance(found[0], events.RunStarted)
    assert [event.kind for event in found].count("run_resumed") == 1
    assert isinstance(found[-1], events.RunDone)
    assert before < summary["seconds"] < 60
    assert summary["tokens_decoded"] == sum(json.loads(line)["tokens_decoded"] for line in results(cut).splitlines())


def test_a_run_that_is_done_but_for_its_last_word_computes_nothing_again(model: LanguageModel, tmp_path: Path) -> None:
    spec, whole = spec_of(**CASES["tree_of_thoughts"]), tmp_path / "whole"
    run_experiment(spec, model, whole)
    *_, done = read_rows(whole / NAME)
    cut = copied_until(done.id - 1, whole, tmp_path / "cut")
    go_on(spec, model, cut)
    new = [row.kind for row in read_rows(cut / NAME, done.id)]
    assert new == ["run_resumed", "run_done"]
    assert results(cut) == results(whole)


class Fickle:
    """Asks for something else every time it runs."""

    num_runs = 0

    async def run(self, tree: Tree) -> Thought | None:
        type(self).num_runs += 1
        for _ in range(2):
            prompt = tree.task.prompt(tree.root, tree.style)
            assert prompt is not None
            thoughts = await tree.join([tree.root], prompt, 1 + Fickle.num_runs % 2, number=Fickle.num_runs)
            await tree.score(thoughts)
        return tree.best()


def test_a_problem_whose_search_asks_for_other_things_starts_over(
    model: LanguageModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = spec_of(task={**SORTING, "limit": 1}, search={"name": f"{__file__}:Fickle"}, baseline="none")
    run_experiment(spec, model, tmp_path / "whole")
    decoded = [row.id for row in read_rows(tmp_path / "whole" / NAME) if row.kind == "thought_decoded"]
    cut = copied_until(decoded[-1], tmp_path / "whole", tmp_path / "cut")
    go_on(spec, model, cut)
    assert "starts over" in caplog.text
    kinds = [row.kind for row in read_rows(cut / NAME)]
    assert kinds.count("problem_started") == 2
    assert len(results(cut).splitlines()) == 1
    assert begun_run(cut / NAME).passes["search"].done == {"0"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"search": {"name": "tree_of_thoughts", "k": 4}}, "search.k was 3, is 4"),
        ({"seed": 1}, "seed was 0, is 1"),
    ],
)
def test_another_configuration_is_refused_and_the_difference_is_shown(
    changed: dict[str, Any], named: str, model: LanguageModel, tmp_path: Path
) -> None:
    run_experiment(spec_of(**CASES["tree_of_thoughts"]), model, tmp_path)
    copied_until(30, tmp_path, tmp_path / "cut")
    other = spec_of(**{**CASES["tree_of_thoughts"], **changed})
    rows = len(list(read_rows(tmp_path / "cut" / NAME)))
    with pytest.raises(UserError, match=named):
        go_on(other, model, tmp_path / "cut")
    assert len(list(read_rows(tmp_path / "cut" / NAME))) == rows, "a refusal leaves the record alone"
    assert go_on(other, model, tmp_path / "cut", force=True)["status"] == "done"


def test_what_differs_in_data_weights_or_code_is_told(model: LanguageModel, tmp_path: Path) -> None:
    spec = spec_of(**CASES["tree_of_thoughts"])
    run_experiment(spec, model, tmp_path)
    copied_until(30, tmp_path, tmp_path / "cut")
    own = model.digest_of_weights()
    weights = next(iter(model._network.parameters()))
    before = weights.data[0, 0].item()
    try:
        weights.data[0, 0] += 1e-3
        assert model.digest_of_weights() != own
        with pytest.raises(UserError, match="weights was"):
            go_on(spec, model, tmp_path / "cut")
    finally:
        weights.data[0, 0] = before
    assert model.digest_of_weights() == own
    problems: Sequence[Any] = [*spec.problems[:-1], spec.problems[0]]
    object.__setattr__(spec, "problems", problems)
    with pytest.raises(UserError, match="problems was"):
        go_on(spec, model, tmp_path / "cut")
