"""The table at equal tokens: its baselines, its intervals, and its rows on a few problems."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist, fmean, stdev

import pytest

import treereason as tr
from benchmarks import bootstrap, equal_tokens, equal_tokens_table, record
from benchmarks.baselines import BASELINES, Outcome, Pool
from benchmarks.equal_tokens_settings import SETTINGS
from tests.fakes import slow


def test_the_bootstrap_agrees_with_the_normal_interval_of_many_values() -> None:
    values = [NormalDist().inv_cdf((i + 0.5) / 400) for i in range(400)]
    half = 1.96 * stdev(values) / 20
    assert bootstrap.interval(values) == pytest.approx((-half, half), abs=0.01)


def test_the_bootstrap_of_equal_values_is_a_point() -> None:
    assert bootstrap.interval([0.25] * 10) == (0.25, 0.25)
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap.interval([])


@pytest.fixture(scope="module")
def pool() -> Pool:
    run = tr.run(
        tr.tasks.Sorting(length=24, limit=4), tr.search.BestOfN(n=4), tr.load("embedded"), seed=3, temperature=1.5
    )
    return Pool(run.problems, lambda problem, answer: float(answer == problem.target))


@pytest.mark.parametrize("n", [3, *slow(1)])
def test_the_first_samples_of_a_pool_are_a_run_with_so_many(pool: Pool, n: int) -> None:
    task, model = tr.tasks.Sorting(length=24, limit=4), tr.load("embedded")
    searches: dict[str, tr.Search] = {
        "best_of_n": tr.search.BestOfN(n=n),
        "self_consistency": tr.search.SelfConsistency(n=n),
        "sample_until": tr.search.SampleUntil(n=n),
    }
    for name, search in searches.items():
        run = tr.run(task, search, model, seed=3, temperature=1.5)
        outcomes = pool.until_final(n) if name == "sample_until" else pool.chosen(n, BASELINES[name])
        assert [outcome.value for outcome in outcomes] == [float(problem.solved) for problem in run.problems]
        assert [outcome.tokens for outcome in outcomes] == [problem.tokens_decoded for problem in run.problems]


def test_one_sample_is_the_mean_over_the_pool(pool: Pool) -> None:
    shares = [fmean(problem.single_sample_solved) for problem in pool.problems]
    assert [outcome.value for outcome in pool.single()] == pytest.approx(shares)


def test_a_baseline_takes_no_fewer_tokens_than_asked(pool: Pool) -> None:
    def curve(pool: Pool, n: int) -> list[Outcome]:
        return pool.chosen(n, BASELINES["best_of_n"])

    n, outcomes = equal_tokens._at_tokens([pool], curve, 100)
    assert fmean(outcome.tokens for outcome in outcomes) >= 100
    assert fmean(outcome.tokens for outcome in curve(pool, n - 1)) < 100
    assert equal_tokens._at_tokens([pool], curve, 1e9)[0] == pool.size


def test_each_search_gets_a_row_that_the_table_shows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(equal_tokens_table, "RESULTS", tmp_path)
    monkeypatch.setattr(equal_tokens, "CALIBRATION_PROBLEMS", 1)
    monkeypatch.setattr(equal_tokens, "SIZES", (1, 3))
    monkeypatch.setitem(SETTINGS, "sorting", replace(SETTINGS["sorting"], pool=6))
    small = "--setting sorting --search tree_of_thoughts --problems 3 --seeds 2 --threads 1 --record"
    equal_tokens.main(small.split())
    rows = [json.loads(line) for line in (tmp_path / "equal_tokens.jsonl").read_text().splitlines()]
    assert [row["search"] for row in rows] == ["greedy", "single_sample", "tree_of_thoughts"]
    tree = rows[2]
    assert tree["guided_by"] == [SETTINGS["sorting"].scorer]
    assert tree["against"]["best_of_n"]["tokens"] >= tree["tokens"]
    assert tree["against"]["best_of_n"]["gain"] == pytest.approx(
        tree["value"] - tree["against"]["best_of_n"]["value"], abs=1e-4
    )
    capsys.readouterr()
    equal_tokens.main(["--table"])
    table = capsys.readouterr().out
    assert "**sorting** (oracle, 3 problems, 2 seeds)" in table
    assert f"| `tree_of_thoughts` | {tree['value']:.3f} " in table
    equal_tokens.main(["--summary"])
    summary = capsys.readouterr().out
    assert f"| sorting (oracle) | {tree['tokens']:,.0f} | {rows[1]['value']:.3f} | {rows[0]['value']:.3f} |" in summary
    assert f"`tree_of_thoughts` **{tree['value']:.3f}** | " in summary


def test_a_search_is_ahead_only_of_baselines_that_its_whole_interval_is_above(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(equal_tokens_table, "RESULTS", tmp_path)
    assert equal_tokens_table.recorded_summary().count("\n") == 1
    one = {"setting": "s", "guidance": "oracle", "value": 0.5, "tokens": 9.0}
    lows = {"a": [0.1, 0.1], "b": [0.1, -0.1], "c": [0.0, 0.2]}
    rows = [
        {**one, "search": "greedy", "against": {}},
        {**one, "search": "single_sample"},
        *(
            {
                **one,
                "search": name,
                "against": {
                    baseline: {"value": 0.4, "gain_interval": [low, 0.3]}
                    for baseline, low in zip(("best_of_n", "self_consistency"), given, strict=True)
                },
            }
            for name, given in lows.items()
        ),
    ]
    (tmp_path / "equal_tokens.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert equal_tokens_table.recorded_summary().endswith("| `a` **0.500** | 1 of 3 |")


def test_a_row_that_an_oracle_guided_in_part_is_no_row_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(equal_tokens_table, "RESULTS", tmp_path)
    row = {"setting": "sorting", "search": "beam", "guidance": "label-free", "guided_by_basis": ["label_free"]}
    rows = [row, {**row, "search": "graph_of_thoughts", "guided_by_basis": ["label_free", "oracle"]}]
    (tmp_path / "equal_tokens.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    assert list(equal_tokens_table._recorded()["sorting"]) == ["beam"]
    by_oracle = [{**each, "guidance": "oracle"} for each in rows]
    (tmp_path / "equal_tokens.jsonl").write_text("".join(json.dumps(each) + "\n" for each in by_oracle))
    assert list(equal_tokens_table._recorded()["sorting"]) == ["beam", "graph_of_thoughts"]
