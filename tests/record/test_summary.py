"""The numbers of summary.json."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.record.made_events import done, run_events, started, step, summary_of
from treereason.events import Event, RunDone
from treereason.record import Summary


def greedy_events() -> list[Event]:
    return [
        started("greedy"),
        step(tokens_decoded=1000, kv_tokens_peak=900, kv_tokens_read_tree=1, kv_tokens_read_sequence=1),
        done("a", score=0.75, solved=True),
        done("b", score=0.25, solved=False),
        done("c", score=0.5, solved=True),
    ]


def test_summary_adds_up_the_search_pass() -> None:
    found = summary_of(run_events() + greedy_events()).as_dict()
    versions = found.pop("versions")
    assert found == {
        "status": "done",
        "task": "sorting",
        "search": "tree_of_thoughts",
        "model": "embedded",
        "scorer": "oracle",
        "scorer_oracle": False,
        "scorer_basis": "",
        "guided_by": ["checker", "oracle"],
        "guided_by_basis": ["", ""],
        "oracle_guided": False,
        "seed": 11,
        "repeats": "",
        "problems": 3,
        "problems_done": 3,
        "solved": 1,
        "failed": 1,
        "first_error": "b: no memory",
        "thoughts_failed": 5,
        "first_thought_error": "b: scorer: ValueError: no number",
        "thoughts_cut": 0,
        "thoughts_empty": 0,
        "finishes": {"end": 0, "stop": 0, "length": 0},
        "mean_score": 0.75,
        "single_sample_solved": 0.75,
        "single_sample_mean_score": 0.4375,
        "greedy_problems_done": 3,
        "greedy_solved": 2,
        "greedy_mean_score": 0.5,
        "tokens_decoded": 30,
        "tokens_prefilled": 60,
        "tokens_rebuilt": 6,
        "tokens_reused": 21,
        "tokens_wasted": 12,
        "judge_tokens_decoded": 0,
        "judge_tokens_prefilled": 0,
        "tokens_unfinished": 0,
        "kv_tokens_peak": 70,
        "kv_tokens_read_tree": 20,
        "kv_tokens_read_sequence": 120,
        "kv_read_ratio": 6.0,
        "seconds": 3.0,
        "tokens_per_second": 30 / 3.0,
    }
    assert list(versions) == ["python", "treereason", "torch", "transformers"]


def test_the_summary_counts_thoughts_that_a_limit_cut_off() -> None:
    events = [started(), done("a", thoughts_cut=2), done("b"), done("c", thoughts_cut=3)]
    assert summary_of(events).as_dict()["thoughts_cut"] == 5


def test_the_summary_counts_what_ended_the_texts_and_empty_ones() -> None:
    first = replace(done("a", thoughts_empty=2), finishes={"end": 3, "length": 1})
    second = replace(done("b", thoughts_empty=1), finishes={"end": 1, "stop": 4})
    found = summary_of([started(), first, second, done("c")]).as_dict()
    assert found["finishes"] == {"end": 4, "stop": 4, "length": 1}
    assert found["thoughts_empty"] == 3


def test_scores_whose_sum_no_float_holds_have_a_mean() -> None:
    events = [started(), *(done(name, score=1.5e308) for name in "abc")]
    assert summary_of(events).as_dict()["mean_score"] == pytest.approx(1.5e308)


@pytest.mark.parametrize(
    ("knows_the_truth", "guided_by", "expected"),
    [
        (True, ("oracle",), True),
        (True, ("checker", "oracle"), True),
        (True, ("checker",), False),
        (True, (), False),
        (False, ("oracle",), False),
    ],
)
def test_a_search_is_guided_by_an_oracle_only_when_it_asked_a_scorer_that_knows_the_truth(
    knows_the_truth: bool, guided_by: tuple[str, ...], expected: bool
) -> None:
    begin = replace(started(), scorer_oracle=knows_the_truth)
    found = summary_of([begin, done("a"), done("b", guided_by=guided_by)]).as_dict()
    assert (found["guided_by"], found["oracle_guided"]) == (list(guided_by), expected)


def test_the_summary_tells_what_each_guide_rests_on() -> None:
    first = done("a", guided_by=("certain", "mine"), guided_by_basis=("label_free", "unmarked"))
    second = done("b", guided_by=("certain", "sums"), guided_by_basis=("label_free", "oracle"))
    found = summary_of([started(), first, second]).as_dict()
    assert found["guided_by"] == ["certain", "mine", "sums"]
    assert found["guided_by_basis"] == ["label_free", "unmarked", "oracle"]
    assert found["oracle_guided"], "by a scorer of the search's own"
    assert not summary_of([started(), first]).as_dict()["oracle_guided"]


def test_the_summary_adds_up_what_judges_took() -> None:
    events = [started(), *(done(name, judge_tokens_decoded=3, judge_tokens_prefilled=5) for name in "ab")]
    found = summary_of(events).as_dict()
    assert (found["judge_tokens_decoded"], found["judge_tokens_prefilled"]) == (6, 10)


def test_tokens_of_an_interrupted_run_are_those_of_its_done_problems_and_the_rest_has_a_name() -> None:
    found = summary_of(run_events()[:-1]).as_dict()
    names = ("decoded", "prefilled", "reused", "wasted", "unfinished")
    assert [found[f"tokens_{name}"] for name in names] == [20, 40, 12, 8, 10]
    assert found["tokens_per_second"] == 30 / found["seconds"]


def test_the_summary_counts_launches_on_a_gpu_only() -> None:
    launches = ["prefill", "graph", "graph", "cannot be captured: ValueError: no"]
    steps = [step(launch=launch, graph_bytes=num_bytes) for num_bytes, launch in enumerate(launches)]
    found = summary_of([started(), *steps, *greedy_events()]).as_dict()
    assert found["graph_bytes"] == 3
    assert found["launches"] == {"prefill": 1, "graph": 2, "cannot be captured: ValueError: no": 1}
    assert not {"launches", "graph_bytes"} & summary_of(run_events()).as_dict().keys()


def test_what_is_not_known_is_null() -> None:
    found = summary_of([started(), started("greedy")]).as_dict()
    for name in ("mean_score", "single_sample_mean_score", "greedy_solved", "greedy_mean_score", "kv_read_ratio"):
        assert found[name] is None
    assert found["tokens_per_second"] is None
    assert Summary().as_dict()["status"] == "interrupted"


@pytest.mark.parametrize(
    ("events", "status"),
    [
        (run_events(), "done"),
        (run_events()[:-1], "interrupted"),
        (run_events() + greedy_events()[:-1], "interrupted"),
        ([*run_events(), RunDone("interrupted", {}, "")], "interrupted"),
        ([*run_events()[:-1], RunDone("done", {}, "")], "done"),
    ],
)
def test_status(events: list[Event], status: str) -> None:
    assert summary_of(events).as_dict()["status"] == status


def test_summary_is_written_in_one_step(tmp_path: Path) -> None:
    summary = summary_of(run_events())
    (tmp_path / "summary.json").write_text("old")
    assert summary.write(tmp_path) == tmp_path / "summary.json"
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
    assert json.loads((tmp_path / "summary.json").read_text()) == summary.as_dict()
    summary.write(tmp_path, status="interrupted")
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "interrupted"
