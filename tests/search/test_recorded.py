"""Recorded searches: how they are cut, that the engine follows them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from treereason import events
from treereason.cli.main import main
from treereason.core import UserError
from treereason.record.journal import read
from treereason.tasks.recorded import Recorded

# The root (30 tokens) has 1 and 2; 1 ends at 5 and has 3 and 4; 2 goes on until 9.
RECORD: dict[str, Any] = {
    "0": {"value": 30, "start": -29, "end": 0, "children": [1, 2]},
    "1": {"value": 5, "start": 1, "end": 5, "children": [3, 4]},
    "2": {"value": 9, "start": 1, "end": 9, "children": []},
    "3": {"value": 3, "start": 6, "end": 8, "children": []},
    "4": {"value": 6, "start": 6, "end": 11, "children": []},
}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "record.json"
    path.write_text(json.dumps([{"incompleted": False, "prompt": "", "data": RECORD}] * 2))
    return path


def run(folder: Path, *overrides: str) -> tuple[dict[str, Any], list[dict[str, Any]], list[events.Event]]:
    common = [f"hydra.run.dir={folder}", "display=none", "engine.threads=1", "baseline=none"]
    exit_code = main([*common, *overrides])
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert exit_code == (3 if all(line["status"] == "failed" for line in results) else 0)
    return json.loads((folder / "summary.json").read_text()), results, list(read(folder / "journal.sqlite"))


def test_nodes_are_cut_where_others_fork(record: Path) -> None:
    problem = Recorded(path=str(record)).problems(0)[0]
    first, second = problem.input["children"]
    assert problem.input["tokens"] == 30
    assert (first["tokens"], first["ends"], [child["tokens"] for child in first["children"]]) == (5, True, [3, 6])
    assert (second["tokens"], second["ends"]) == (5, False)
    assert second["children"] == [{"tokens": 4, "ends": True, "children": []}]
    assert problem.target == {"following": 0, "ended": 4}


def test_a_recorded_search_is_followed(record: Path, tmp_path: Path) -> None:
    summary, results, journal = run(tmp_path / "run", "task=recorded", f"task.path={record}", "search=recorded")
    assert summary["mean_score"] == 1
    assert summary["solved"] == 2
    assert summary["kv_read_ratio"] > 1.3
    assert [line["tokens_decoded"] for line in results] == [5 + 9 + 3 + 6] * 2
    own = [e for e in journal if isinstance(e, events.ThoughtDecoded | events.ThoughtPruned) and e.problem == "0"]
    lengths = {e.thought: e.tokens_decoded for e in own if isinstance(e, events.ThoughtDecoded)}
    assert lengths == {(0,): 5, (1,): 5, (0, 0): 3, (0, 1): 6, (1, 0): 4}
    assert {e.thought for e in own if isinstance(e, events.ThoughtPruned)} == set(lengths)
    # Both generations decode side by side: 5 steps, and as many as the longest of the second, 6.
    assert sum(isinstance(e, events.StepDone) and e.tokens_decoded > 0 for e in journal) <= 11
    # Children of different lengths are expansions of their own, which share whole pages of the prompt.
    assert max(e.kv_tokens_used for e in journal if isinstance(e, events.StepDone)) <= 2 * (30 + 5 + 9 + 3 + 6 + 15)


def test_what_the_model_cannot_hold_is_not_counted(tmp_path: Path) -> None:
    record = tmp_path / "long.json"
    long = {**RECORD, "0": {**RECORD["0"], "value": 2040}}
    record.write_text(json.dumps([{"data": long}]))
    summary, results, _ = run(tmp_path / "run", "task=recorded", f"task.path={record}", "search=recorded")
    assert summary["mean_score"] == pytest.approx(2 / 4)  # 1, and 3: 2,040 + 5 + 3 are just the 2,048 that it holds
    assert summary["solved"] == 0
    assert results[0]["status"] == "done"


def test_a_vocabulary_larger_than_the_models_fails_the_problems(record: Path, tmp_path: Path) -> None:
    overrides = ["task=recorded", f"task.path={record}", "search=recorded", "task.vocabulary=5000"]
    _, results, _ = run(tmp_path / "run", *overrides)
    assert [line["status"] for line in results] == ["failed"] * 2
    assert all("the model's vocabulary is 0 to 71" in line["error"] for line in results)


@pytest.mark.parametrize("overrides", [["task=recorded", "search=best_of_n"], ["task=sorting", "search=recorded"]])
def test_one_half_of_a_recorded_search_is_refused_before_the_run(
    overrides: list[str], record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [f"task.path={record}"] if "task=recorded" in overrides else []
    assert main([*overrides, *files, "display=none"]) == 2
    assert "a recorded search needs both task=recorded and search=recorded" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", "[3]", '[{"data": {}}]', '[{"data": {"0": {"value": 1}}}]'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"not a record of searches|has no problems in it"):
        Recorded(path=str(path)).problems(0)
    with pytest.raises(UserError, match=r"no such file|cannot read"):
        Recorded(path=str(tmp_path / "missing.json")).problems(0)


def changed(number: str, **fields: object) -> list[dict[str, Any]]:
    """A record with some fields of one node changed."""
    return [{"data": {**RECORD, number: {**RECORD[number], **fields}}}]


CHAIN = {str(i): {"value": 1, "start": i, "end": i, "children": [i + 1] if i < 999 else []} for i in range(1000)}

MANY_SEGMENTS: dict[str, Any] = {str(i): {"value": 1, "start": i, "end": i, "children": [i + 1]} for i in range(98)}
for leaf in range(1000, 2100):  # beside 98 nodes that each end where the next one begins
    MANY_SEGMENTS["0"]["children"].append(leaf)
    MANY_SEGMENTS[str(leaf)] = {"value": 98, "start": 1, "end": 98, "children": []}
MANY_SEGMENTS["98"] = {"value": 1, "start": 98, "end": 98, "children": []}


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (None, "not a list but None"),
        ([None], "search 0: not an object with nodes"),
        ([{"data": RECORD}, {"data": []}], "search 1: not an object with nodes"),
        (changed("1", value=3.5), "search 0: node 1: value should be a whole number, not 3.5"),
        (changed("1", end=True), "search 0: node 1: end should be a whole number, not True"),
        (changed("1", value=-1), "search 0: node 1: value=-1"),
        (changed("0", value=0), "search 0: node 0: value=0"),
        (changed("0", value=10**10), "search 0: node 0: value=10000000000; at most 10,000,000 tokens"),
        (changed("1", value=10**300), "search 0: node 1: value=1000"),
        (changed("1", value=6), "search 0: node 1: 6 tokens from step 1 to 5"),
        (changed("1", start=7), "search 0: node 1: starts at 7 after its end at 5"),
        (changed("3", start=5, value=4), "search 0: node 3: starts at 5, before its parent 1 has ended"),
        (changed("1", children=[1]), "search 0: node 1: it is a child of 0 and of 1"),
        (changed("2", children=[3]), "search 0: node 3: it is a child of 1 and of 2"),
        (changed("0", children=[1, 2, 2]), "search 0: node 2: it is a child of 0 and of 0"),
        (changed("4", children=[0]), "search 0: node 0: starts at -29, before its parent 4 has ended"),
        (changed("4", children=[9]), "search 0: node 4: its child 9 is not there"),
        (changed("1", children=["3"]), "search 0: node 1: children should be a list of numbers"),
        (changed("1", children=None), "search 0: node 1: children should be a list of numbers"),
        (changed("2", children=[], value=0, start=1, end=0), ""),  # an empty node, as some of DeFT's are
        ([{"data": {**RECORD, "01": RECORD["3"]}}], "search 0: node '01': it should be called by a number"),
        ([{"data": {**RECORD, "9": RECORD["3"]}}], "search 0: node 9: it is a root as 0 is"),
        ([{"data": {"0": {**RECORD["0"], "children": []}}}], "search 0: it has only a prompt"),
        ([{"data": CHAIN}], "search 0: 1,000 generations; at most 100"),
        ([{"data": MANY_SEGMENTS}], "search 0: 107,898 segments between forks; at most 100,000"),
    ],
)
def test_a_record_that_is_no_tree_in_time_is_refused_by_its_place(record: object, place: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record))
    if not place:
        assert Recorded(path=str(path)).problems(0)
        return
    with pytest.raises(UserError) as raised:
        Recorded(path=str(path)).problems(0)
    assert str(raised.value).startswith(f"{path}: not a record of searches: {place}")
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested more than 100 deep"),
        ('[{"data": {"0": {}, "0": {}}}]', "the key '0' occurs twice"),
        ("[1e999]", "search 0: not an object"),
        ("[NaN]", "NaN is not a value of JSON"),
        ("[" + "9" * 5000 + "]", "a number of 5,000 digits; at most 4,300 are read"),
        ("\0", "NUL byte"),
    ],
)
def test_a_record_of_odd_json_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(UserError, match=reason):
        Recorded(path=str(path)).problems(0)


def test_no_token_and_no_node_of_a_record_is_lost(data: Path) -> None:
    def count(segment: dict[str, Any]) -> tuple[int, int]:
        """Tokens of a segment and all below it, and how many nodes end there."""
        below = [count(child) for child in segment["children"]]
        return segment["tokens"] + sum(tokens for tokens, _ in below), segment["ends"] + sum(ends for _, ends in below)

    files = list((data / "deft").glob("*ToT.json"))
    assert files
    for path in files:
        nodes = [record["data"] for record in json.loads(path.read_text())]
        found = [count(problem.input) for problem in Recorded(path=str(path)).problems(0)]
        assert found == [(sum(node["value"] for node in tree.values()), len(tree)) for tree in nodes]
