"""results.jsonl in problem order."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.record.made_events import done, run_events, started, summary_of
from treereason.core import UserError
from treereason.events import Event, ProblemStarted
from treereason.record import Results


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


def test_any_answer_can_be_stored(tmp_path: Path) -> None:
    answers = [10**5000, [10**5000], {10**5000: 1}, float("nan"), float("-inf"), "x\ud800"]
    events = [
        event for i, answer in enumerate(answers) for event in (ProblemStarted(str(i), 1), done(str(i), answer=answer))
    ]
    lines = written(tmp_path / "run", [started(problems=len(answers)), *events]).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [str(i) for i in range(len(answers))]
