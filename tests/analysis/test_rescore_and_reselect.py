"""Recorded runs by another scorer, another vote or fewer samples, held against runs that were made so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from treereason.analysis.recorded_run import read_run
from treereason.analysis.replay import replay
from treereason.analysis.rescore import rescore
from treereason.cli.main import main
from treereason.core import Score

SAME = ("id", "status", "solved", "score", "answer", "best", "tokens_decoded", "guided_by", "guided_by_basis")


def results(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in SAME} for line in lines]


def test_fewer_samples_answer_as_the_run_of_so_many_did(recorded: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert main(["reselect", str(recorded / "vote_6"), "n=3", "--folder", str(made)]) == 0
    assert results(made) == results(recorded / "vote_3")
    assert main(["compare", str(made), str(recorded / "vote_3"), "--csv"]) == 0


def test_a_vote_on_samples_of_another_search_answers_as_the_vote_did(recorded: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert main(["reselect", str(recorded / "best_4"), "vote=majority", "n=3", "--folder", str(made)]) == 0
    assert results(made) == results(recorded / "vote_3")


def test_the_best_by_another_scorer_is_what_a_run_by_it_chose(recorded: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert main(["reselect", str(recorded / "best_4"), "scorer=likelihood", "--folder", str(made)]) == 0
    for ours, theirs in zip(results(made), results(recorded / "likely_4"), strict=True):
        assert ours == {**theirs, "score": pytest.approx(theirs["score"])}


def test_rescoring_by_the_same_scorer_changes_nothing(recorded: Path, tmp_path: Path) -> None:
    run = read_run(recorded / "tree")
    found = rescore(replay(run), "steps_hold")
    for name, problem in run.problems.items():
        for path, thought in problem.thoughts.items():
            if thought.scores:
                assert found.verdicts[name][path] == Score(*thought.scores["steps_hold"])
    made = tmp_path / "made"
    assert main(["rescore", str(recorded / "tree"), "scorer=steps_hold", "--folder", str(made)]) == 0
    assert results(made) == results(recorded / "tree")


def test_rescored_runs_keep_their_answers_and_their_guide(recorded: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert main(["rescore", str(recorded / "likely_4"), "scorer=exact_match", "--folder", str(made)]) == 0
    for ours, theirs in zip(results(made), results(recorded / "likely_4"), strict=True):
        assert ours == {**theirs, "score": float(bool(theirs["solved"]))}
    found = read_run(made)
    assert found.guide == "label-free"
    answered = [thought for problem in found.problems.values() for thought in problem.answered]
    assert all(list(thought.scores) == ["likelihood"] for thought in answered), "what the search saw"
    assert {thought.evaluation for thought in answered} <= {0.0, 1.0}, "what the other scorer says"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rescore", "{likely_4}"], "give scorer=NAME"),
        (["rescore", "{likely_4}", "scorer=judge_yes_no"], "asks the run's model, and none is loaded here"),
        (["rescore", "{likely_4}", "scorer=entropy"], "the journal of likely_4 has none"),
        (["rescore", "{likely_4}", "scorer=nope"], "has no such scorer"),
        (["reselect", "{likely_4}"], "say what to change"),
        (["reselect", "{likely_4}", "vote=most"], "vote=most: no such vote"),
        (["reselect", "{likely_4}", "n=5"], "likely_4 has 4 samples a problem: give 1 to 4"),
        (["reselect", "{likely_4}", "n=x"], "n=x: give a whole number"),
        (["reselect", "{likely_4}", "seed=1"], "seed=1: reselect has no such option"),
        (["reselect", "{tree}", "n=2"], "whose thoughts depend on each other"),
        (["reselect", "n=2"], "give the folder of one run"),
        (["reselect", "{tree}", "vote=first", "--folder", "{tree}"], "holds a run already"),
    ],
)
def test_what_the_record_does_not_allow_is_one_line(
    recorded: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    folders = {folder.name: folder for folder in recorded.iterdir()}
    assert main([word.format_map(folders) for word in words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_data_that_changed_since_is_told(recorded: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import sqlite3

    journal = tmp_path / "journal.sqlite"
    journal.write_bytes((recorded / "vote_3/journal.sqlite").read_bytes())
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE events SET data=replace(data, '\"input\":\"', '\"input\":\"1+') WHERE problem='0'")
    assert main(["reselect", str(tmp_path), "n=2"]) == 2
    assert "problem 0 asks something else than recorded" in capsys.readouterr().err
