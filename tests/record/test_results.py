"""results.jsonl in problem order, and the numbers of summary.json."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from treereason.core import UserError
from treereason.events import Event, ProblemDone, ProblemStarted, RunDone, RunStarted, StepDone
from treereason.record import Results, Summary


def started(pass_name: str = "search", problems: int = 3) -> RunStarted:
    return RunStarted("sorting", "tree_of_thoughts", "embedded", "oracle", 11, problems, pass_name)


def done(problem: str, **changes: Any) -> ProblemDone:
    fields: dict[str, Any] = {
        "status": "done",
        "solved": True,
        "score": 0.1 + 0.2,
        "answer": [1, 2],
        "best": (0, 1),
        "error": None,
        "tokens_decoded": 10,
        "tokens_prefilled": 20,
        "tokens_reused": 30,
        "tokens_wasted": 4,
        "kv_tokens_peak": 40,
        "single_sample_scores": (0.0, 0.5),
        "single_sample_solved": (False, True),
    }
    return ProblemDone(problem, **{**fields, **changes})


def step(**changes: Any) -> StepDone:
    fields: dict[str, Any] = dict.fromkeys(StepDone.__dataclass_fields__, 0) | {"launch": ""}
    return StepDone(**{**fields, **changes})


def written(folder: Path, events: list[Event]) -> bytes:
    folder.mkdir(exist_ok=True)
    with Results(folder) as results:
        for event in events:
            results(event)
    return (folder / "results.jsonl").read_bytes()


def test_lines_come_in_problem_order_whatever_finished_first(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    head: list[Event] = [started(problems=4), *(ProblemStarted(name, 1) for name in names)]
    files = {written(tmp_path, [*head, *(done(name) for name in order)]) for order in itertools.permutations(names)}
    assert len(files) == 1
    assert [json.loads(line)["id"] for line in files.pop().splitlines()] == names


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_a_line_is_on_disk_as_soon_as_its_problem_is_done(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = Results(tmp_path)
    for event in (started(), *(ProblemStarted(name, 1) for name in "abc"), done("b")):
        results(event)
    assert ids(path) == ["b"]
    results(done("a"))
    assert ids(path) == ["b", "a"]
    results.close()
    assert ids(path) == ["a", "b"]
    results.close()


def test_a_run_that_fails_before_a_problem_is_done_leaves_an_earlier_run_alone(tmp_path: Path) -> None:
    before = written(tmp_path, [started(), ProblemStarted("a", 1), done("a")])
    summary_of(run_events()).write(tmp_path)
    with pytest.raises(UserError), Results(tmp_path) as results:  # noqa: PT012 the error must pass through the file's end
        results(started())
        results(ProblemStarted("b", 1))
        raise UserError("no memory")
    assert (tmp_path / "results.jsonl").read_bytes() == before
    assert (tmp_path / "summary.json").exists()


def test_lines_stay_as_they_came_where_there_is_no_room_to_order_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    data = written(tmp_path, [started(), ProblemStarted("a", 1), ProblemStarted("b", 1), done("b"), done("a")])
    assert [json.loads(line)["id"] for line in data.splitlines()] == ["b", "a"]
    assert "stays in the order in which problems ended: No space left on device" in caplog.text


def test_an_interrupted_run_keeps_what_is_done(tmp_path: Path) -> None:
    data = written(tmp_path, [started(), *(ProblemStarted(name, 1) for name in "abc"), done("c"), done("b")])
    assert [json.loads(line)["id"] for line in data.splitlines()] == ["b", "c"]


def test_an_earlier_summary_does_not_outlive_its_results(tmp_path: Path) -> None:
    summary_of(run_events()).write(tmp_path)
    Results(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


@pytest.mark.parametrize("name", ["results.jsonl", "summary.json"])
def test_a_folder_in_a_files_place_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=rf"{name} cannot be replaced .*: choose another folder with hydra\.run\.dir"):
        Results(tmp_path)


def test_the_bytes_of_a_line(tmp_path: Path) -> None:
    hostile = done("a", score=math.nan, answer="é\u2028\ud800", single_sample_scores=(math.inf, 1.0))
    hostile = replace(hostile, guided_by=("sums",), guided_by_basis=("oracle",))
    data = written(tmp_path, [started(), ProblemStarted("a", 1), hostile])
    assert data == (
        b'{"id": "a", "status": "done", "solved": true, "score": null, "answer": "\\u00e9\\u2028\\ud800", '
        b'"best": [0, 1], "error": null, "tokens_decoded": 10, "tokens_prefilled": 20, "tokens_reused": 30, '
        b'"tokens_wasted": 4, '
        b'"kv_tokens_peak": 40, "single_sample_scores": [null, 1.0], "single_sample_solved": [false, true], '
        b'"guided_by": ["sums"], "guided_by_basis": ["oracle"]}\n'
    )
    data = written(tmp_path, [started(), ProblemStarted("a", 1), done("a")])
    assert b'"score": 0.30000000000000004,' in data
    more = done("a", thoughts_failed=3, first_thought_error="no number", thoughts_cut=2)
    more = replace(more, thoughts_empty=1, finishes={"end": 5})
    assert written(tmp_path, [started(), ProblemStarted("a", 1), more]) == data


def test_the_greedy_pass_leaves_results_alone(tmp_path: Path) -> None:
    search: list[Event] = [started(), ProblemStarted("a", 1), done("a")]
    greedy: list[Event] = [started("greedy"), ProblemStarted("a", 1), done("a", solved=False)]
    assert written(tmp_path, search + greedy) == written(tmp_path, search)


def run_events() -> list[Event]:
    return [
        started(),
        ProblemStarted("a", 1),
        step(
            tokens_decoded=13,
            tokens_prefilled=60,
            kv_tokens_peak=50,
            kv_tokens_read_tree=10,
            kv_tokens_read_sequence=80,
            tokens_rebuilt=6,
        ),
        done("a", score=1.0, tokens_reused=5, single_sample_scores=(0.0, 1.0)),
        step(tokens_decoded=17, kv_tokens_peak=70, kv_tokens_read_tree=10, kv_tokens_read_sequence=40),
        done(
            "b",
            score=None,
            status="failed",
            error="no memory",
            thoughts_failed=3,
            first_thought_error="scorer: ValueError: no number",
            guided_by=("oracle", "checker"),
            solved=False,
            tokens_reused=7,
            single_sample_scores=(),
            single_sample_solved=(),
        ),
        done(
            "c",
            score=0.5,
            solved=False,
            thoughts_failed=2,
            first_thought_error="another",
            guided_by=("oracle",),
            tokens_reused=9,
            single_sample_scores=(0.0, 0.75),
            single_sample_solved=(False, False),
        ),
    ]


def greedy_events() -> list[Event]:
    return [
        started("greedy"),
        step(tokens_decoded=1000, kv_tokens_peak=900, kv_tokens_read_tree=1, kv_tokens_read_sequence=1),
        done("a", score=0.75, solved=True),
        done("b", score=0.25, solved=False),
        done("c", score=0.5, solved=True),
    ]


def summary_of(events: list[Event]) -> Summary:
    ticks = itertools.count(100.0, 0.5)
    summary = Summary(clock=lambda: next(ticks))
    for event in events:
        summary(event)
    return summary


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


def test_any_answer_can_be_stored(tmp_path: Path) -> None:
    answers = [10**5000, [10**5000], {10**5000: 1}, float("nan"), float("-inf"), "x\ud800"]
    events = [
        event for i, answer in enumerate(answers) for event in (ProblemStarted(str(i), 1), done(str(i), answer=answer))
    ]
    lines = written(tmp_path / "run", [started(problems=len(answers)), *events]).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [str(i) for i in range(len(answers))]


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
