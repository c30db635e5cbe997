"""What a run came to, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.display.scripted_run import run_done, run_started, terminal
from treereason.display import report
from treereason.events import RunDone


def test_panel(snapshot: SnapshotAssertion) -> None:
    console, file = terminal(80, 24)
    console.print(report.panel(run_done(), 80))
    assert file.getvalue() == snapshot
    assert len(file.getvalue().splitlines()) < 24


ORACLE = "\nThe scorer sums knows the truth"
ONE = {"problems": 1, "problems_done": 1, "solved": 1, "failed": 0}


@pytest.mark.parametrize(
    ("changes", "added", "gone"),
    [
        ({"kv_read_ratio": None}, None, "15.3x fewer KV reads"),
        ({"single_sample_mean_score": None}, None, "single sample"),
        ({"greedy_mean_score": None, "greedy_solved": None}, None, "greedy"),
        ({"greedy_problems_done": 60}, "51 of 60", "51 of 100"),
        ({"first_error": "3: scorer: no key"}, "\nThe first failure, problem 3: scorer: no key", None),
        ({"solved": 0, "failed": 100}, "done: 100 problems in 1:42, all failed\n", "83 of 100"),
        (
            {"judge_tokens_decoded": 5, "judge_tokens_prefilled": 1234},
            "; by judges 5 decoded and 1,234 prefilled",
            None,
        ),
        ({"tokens_unfinished": 1234}, "; 1,234 decoded for unfinished problems", None),
        ({"thoughts_failed": 1, "first_thought_error": "3: no"}, "\n1 thought failed; the first, problem 3: no", None),
        (
            {"thoughts_failed": 5, "first_thought_error": "3: no", "first_error": "3: no"},
            "\nThe first failure, problem 3: no\n5 thoughts failed.",
            None,
        ),
        ({"thoughts_failed": 2, "first_thought_error": None}, "\n2 thoughts failed.", None),
        ({"fused": "65 norms, 32 gates"}, "65 norms, 32 gates", None),
        ({"thoughts_cut": 1}, "\n1 thought was cut off at a token limit.", None),
        ({"thoughts_cut": 1200}, "\n1,200 thoughts were cut off at a token limit.", None),
        ({"thoughts_empty": 1}, "\n1 thought had no text.", None),
        (
            {"finishes": {"end": 1200, "stop": 0, "length": 3}},
            "endings   1,200 by the model, 3 at a token limit\n",
            None,
        ),
        ({"scorer_oracle": True, "scorer": "sums"}, ORACLE, None),
        ({"scorer_oracle": True, "oracle_guided": True, "scorer": "sums"}, ORACLE, None),
        ({"problems_done": 0}, "stopped before the first", "solved 83"),
        ({"search": "best_of_n"}, "search=tree_of_thoughts\n", "tree_of_thoughts solved"),
        (ONE, "1 of 1 arithmetic problem.", "failed"),
    ],
)
def test_the_report_says_what_is_known(changes: dict[str, Any], added: str | None, gone: str | None) -> None:
    usual, text = ("\n".join(report.lines(run_done(**summary))) for summary in ({}, changes))
    assert "?" not in text
    assert added is None or (added in text and added not in usual)
    assert gone is None or (gone not in text and gone in usual)


def test_the_report_names_an_oracle_only_when_it_guided_the_search() -> None:
    text = "\n".join(report.lines(run_done(scorer_oracle=True, oracle_guided=False, scorer="sums")))
    assert "knows the truth" not in text


@pytest.mark.parametrize(
    ("guides", "said"),
    [
        ({}, "no score"),
        ({"sums": "oracle"}, "sums (an oracle: knows the truth)"),
        ({"self_certainty": "label_free"}, "self_certainty (label-free)"),
        ({"judge_value": "judge", "of_all": "derived"}, "judge_value (a model as judge), of_all (from other scores)"),
        ({"mine": "unmarked"}, "mine (unmarked: its author does not say what it rests on)"),
        ({"old": ""}, "old"),
    ],
)
def test_the_report_tells_what_guided_the_search(guides: dict[str, str], said: str) -> None:
    done = run_done(guided_by=list(guides), guided_by_basis=list(guides.values()))
    assert f"\nguides    {said}\n" in "\n".join([*report.lines(done), ""])


def test_the_report_names_the_oracles_of_the_search_itself() -> None:
    done = run_done(oracle_guided=True, scorer="fair", guided_by=["a", "b"], guided_by_basis=["oracle", "oracle"])
    assert "The scorers a, b know the truth" in "\n".join(report.lines(done))


def test_the_report_says_how_a_gpu_ran_the_steps() -> None:
    text = "\n".join(report.lines(run_done(launches={"prefill": 12, "graph": 3_400, "engine.deterministic": 1})))
    assert "steps     3,400 from graphs, 12 eager: prefill, 1 eager: engine.deterministic" in text
    text = "\n".join(report.lines(run_done(launches={"graph": 3}, graph_bytes=3 * 2**29)))
    assert "steps     3 from graphs of 1.5 GiB" in text
    assert "graphs" not in "\n".join(report.lines(run_done()))


def test_the_next_commands_repeat_what_was_typed() -> None:
    typed = ("search=tree_of_thoughts", "search.k=9", "task=./my tasks.py:Sums", "seed=7", "hydra.run.dir=x")
    found = report.report(run_done(), replace(run_started(1), overrides=typed))
    assert [command for command, _ in found.commands] == [
        "treereason 'task=./my tasks.py:Sums' search=best_of_n",
        "treereason search=tree_of_thoughts search.k=9 'task=./my tasks.py:Sums' seed=8",
        "treereason --help",
    ]


def test_a_task_with_a_search_of_its_own_is_offered_no_other() -> None:
    found = report.report(
        run_done(task="recorded", search="recorded"), replace(run_started(1), overrides=("task=recorded",))
    )
    assert [command for command, _ in found.commands] == [
        "treereason task=recorded search=recorded seed=8",
        "treereason --help",
    ]


def test_a_report_without_a_summary() -> None:
    assert report.lines(RunDone("interrupted", {}, "here"))[0] == "interrupted: 0 of 0 problems done, kept in here"


def test_a_run_that_was_started_from_python_is_offered_no_commands_and_names_a_folder_only_where_there_is_one() -> None:
    started = replace(run_started(1), program="")
    event = replace(run_done("interrupted"), folder="")
    text = "\n".join(report.lines(event, started))
    for word in ("next:", "treereason task=", "results", "kept in"):
        assert word in "\n".join(report.lines(run_done("interrupted")))
        assert word not in text
    console, file = terminal(80, 24)
    console.print(report.panel(event, 80, started))
    assert "next" not in file.getvalue()
    assert text.splitlines()[0] in file.getvalue()
