"""`treereason compare`: pairs, equal tokens, and oracles apart from the rest."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest

from treereason.analysis.comparison import compare
from treereason.analysis.comparison_rows import run_rows
from treereason.analysis.curve import Outcomes, curve, equal_cut, outcomes
from treereason.analysis.recorded_run import read_run
from treereason.analysis.replay import replay
from treereason.cli.main import main


def test_a_run_cut_at_the_tokens_of_a_shorter_one_answers_as_that_one_did(recorded: Path) -> None:
    long, short = read_run(recorded / "vote_6"), read_run(recorded / "vote_3")
    found = outcomes(long, replay(long))
    for name, done in short.done.items():
        samples = [thought.spent for thought in long.problems[name].thoughts.values() if thought.path[0] < 3]
        if max(samples) <= done.tokens_decoded:  # its first three samples were the first to be complete
            assert found[name].at(done.tokens_decoded)[0] == done.solved


def test_uncut_the_recorded_answers_count(recorded: Path) -> None:
    for folder in recorded.iterdir():
        run = read_run(folder)
        found = outcomes(run, replay(run))
        assert {name: each.at(each.total) for name, each in found.items()} == {
            name: (done.solved, done.score) for name, done in run.done.items()
        }


def test_the_cut_gives_every_run_the_same_mean() -> None:
    totals = [10, 20, 40, 80]
    for tokens in (2.5, 10, 25, 37):
        cut = equal_cut(totals, tokens)
        assert sum(min(total, cut) for total in totals) / 4 == pytest.approx(tokens)
    assert equal_cut(totals, 37.5) == float("inf")


def test_before_the_first_complete_text_nothing_is_solved() -> None:
    each = Outcomes([5, 9], [False, True], [0.0, 1.0], 9)
    assert [each.at(tokens) for tokens in (4, 5, 8.9, 9, 100)] == [
        (False, None), (False, 0.0), (False, 0.0), (True, 1.0), (True, 1.0)
    ]  # fmt: skip
    found = curve({"a": each, "b": Outcomes([3], [True], [1.0], 3)})
    assert (found.cuts, found.solved) == ([3, 5, 9], [0.5, 0.5, 1.0])
    assert found.tokens == [3.0, 4.0, 6.0]


def test_oracle_and_label_free_never_share_a_column_or_a_difference(recorded: Path) -> None:
    runs = [read_run(recorded / name) for name in ("best_4", "likely_4", "vote_6")]
    found = compare(runs, [replay(run) for run in runs], ["a", "b", "c"])
    assert [(each.base, each.other, each.guide) for each in found.differences] == [("b", "c", "label-free")]
    for row in run_rows(found):
        other = "label_free" if row["guide"] == "oracle" else "oracle"
        assert {value for name, value in row.items() if name.endswith(other)} == {None}


def test_problems_that_ask_something_else_are_no_pairs(recorded: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    journal.write_bytes((recorded / "vote_3/journal.sqlite").read_bytes())
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE events SET data=replace(data, '\"input\":\"', '\"input\":\"1+') WHERE problem='0'")
    runs = [read_run(recorded / "vote_6"), read_run(tmp_path)]
    [difference] = compare(runs, [replay(runs[0]), None], ["a", "b"]).differences
    assert (difference.paired, difference.unpaired) == (7, 1)


def test_the_command_prints_a_table_csv_or_json(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(recorded / name) for name in ("vote_6", "vote_3")]
    assert main(["compare", *folders]) == 0
    table = capsys.readouterr().out
    assert "vote_3 − vote_6" in table
    assert "label-free" in table
    assert main(["compare", *folders, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["run"] for row in rows] == ["vote_6", "vote_3"]
    assert main(["compare", *folders, "--json", "--tokens", "50"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["equal_tokens_per_problem"] == 50
    assert float(rows[1]["difference_solved"]) == found["runs"][1]["difference_solved"]


def test_the_folder_of_a_sweep_stands_for_its_runs(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(recorded), "--csv"]) == 0
    assert {row["run"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))} == {
        folder.name for folder in recorded.iterdir()
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give the folders of runs"),
        (["nowhere"], "nowhere: no run was recorded there"),
        (["{vote_6}", "--tokens", "-1"], "--tokens -1.0: give a number above 0"),
        (["{vote_6}", "--cvs"], "--cvs: no such flag; did you mean --csv?"),
    ],
)
def test_a_mistake_is_one_line(recorded: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["compare", *(word.format(vote_6=recorded / "vote_6") for word in words)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
