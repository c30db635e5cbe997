"""The decode benchmark: its sides agree when greedy, sides take turns fairly, README's tables are what is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import decode, record
from benchmarks.decode_busy import Busy
from benchmarks.decode_case import WORKS, Case, Model, Work
from benchmarks.decode_models import random_llama
from benchmarks.decode_rows import rows
from benchmarks.decode_sides import engine_side, shared_prefill_side
from benchmarks.decode_table import tables
from benchmarks.decode_worker import NotInstalled, Run, Worker, measured
from benchmarks.forests import levels
from tests.fakes import ROOT
from treereason.engine.attention.sequence_plan import each_branch_alone

TINY = {
    "samples": Work("", 20, ((3, 4),)),
    "tree": Work("", 20, ((2, 5), (3, 4))),
    "forest": Work("", 20, ((2, 4),), trees=3, own=6),
}
FAKES = "tests.benchmarks.decode_fakes"
MODEL = Model(Path("a_folder"), "float32", 1)


class FakeSide:
    """Takes `seconds` for every case, of two threads, and remembers the cases."""

    def __init__(self, seconds: float, tokens: Sequence[int] = (1, 2), busy: FakeBusy | None = None) -> None:
        self.seconds, self.tokens, self.busy = seconds, list(tokens), busy
        self.cases: list[Case] = []
        self.versions = {"fake": "1"}

    def run(self, case: Case, *, tell: bool = False) -> Run:
        self.cases.append(case)
        seconds = self.seconds * (3 if self.busy and self.busy.on else 1)
        return Run(seconds, 2 * self.seconds, [self.tokens] if tell else [])


class FakeBusy(Busy):
    """Knows whether it would compute."""

    on = False

    @contextmanager
    def running(self) -> Iterator[None]:
        self.on = True
        yield
        self.on = False


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("name", TINY)
def test_sides_agree_when_greedy(name: str) -> None:
    one, two, three = (random_llama(torch.float32, layers=1, hidden=64) for _ in range(3))
    sides = [shared_prefill_side(one), engine_side(two, per_branch=False), engine_side(three, per_branch=True)]
    case = TINY[name].case(0, 4096, temperature=0.0)
    first, *others = (measured(side, case, tell=True).tokens for side in sides)
    assert len(first) == {"samples": 3, "tree": 2 + 6, "forest": 6}[name]
    assert all(tokens == first for tokens in others)


def test_a_side_that_errs_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    case = TINY["samples"].case(0, 4096, temperature=0.0)
    decode.check(case, {"tree": FakeSide(1), "llama_cpp": FakeSide(1, tokens=(1, 3))})
    assert "llama_cpp decodes 50.0% of the tree's tokens" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"other decodes other tokens than the tree: 50.0% are the same"):
        decode.check(case, {"tree": FakeSide(1), "other": FakeSide(1, tokens=(1, 3))})


def test_sizes_of_a_case() -> None:
    case = WORKS["tree"].case(0, 4096)
    assert (case.most_branches, case.kv_tokens) == (64, 2048 + 8 * 128 + 64 * 64)
    case = WORKS["forest"].case(0, 4096)
    assert (case.most_branches, case.kv_tokens) == (128, 600 + 16 * 100 + 128 * 64)
    assert Case.read(json.loads(json.dumps(vars(case)))) == case
    small = WORKS["forest"].divided(16)
    assert (small.shared, small.own, small.trees, small.levels) == (37, 7, 16, ((8, 4),))


def test_every_round_has_fresh_prompts_and_slow_sides_have_one() -> None:
    sides = {"tree": FakeSide(1), "openvino": FakeSide(1), "shared_prefill": FakeSide(9)}
    cases = [WORKS["1024"].case(seed, 4096) for seed in range(3)]
    runs = decode.turns(sides, cases, Busy(0))
    assert len({case.shared for case in cases}) == 3
    assert sides["tree"].cases == sides["openvino"].cases == cases
    assert {side: len(of_side) for (side, _), of_side in runs.items()} == {
        "tree": 3,
        "openvino": 3,
        "shared_prefill": 1,
    }


def test_beside_busy_processes_a_turn_is_taken_twice_with_other_prompts() -> None:
    busy = FakeBusy(3)
    side = FakeSide(1, busy=busy)
    runs = decode.turns({"tree": side}, [WORKS["1024"].case(seed, 4096) for seed in range(2)], busy)
    assert [run.seconds for run in runs["tree", 0]] == [1, 1]
    assert [run.seconds for run in runs["tree", 3]] == [3, 3]
    assert len({case.shared for case in side.cases}) == 4


def test_ratios_are_of_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.decode_rows.num_cores", lambda: 2)
    runs = {
        ("tree", 0): [Run(1, 2, []), Run(2, 4, [])],
        ("tree", 3): [Run(4, 3, []), Run(6, 4, [])],
        ("other", 0): [Run(3, 3, [])],
    }
    tree, busy, other = rows(runs, threads=2)
    assert tree["over_tree"]["max"] == 1
    assert other["over_tree"] == {"min": 3, "median": 3, "max": 3}
    assert other["cpu_over_tree"]["median"] == 1.5
    assert busy["idle_seconds"]["median"] == 1.5
    assert busy["over_idle"] == {"min": 3, "median": 3.5, "max": 4}
    assert busy["cpu_over_idle"]["median"] == 1.25
    # Two threads of five have 0.8 of two cores: what takes 2 CPU seconds takes 2.5 s there.
    assert busy["over_fair"]["max"] == 4 / 2.5
    assert busy["cores"]["max"] == 0.75


def test_a_worker_runs_its_side_in_another_process() -> None:
    worker = Worker(f"{FAKES}:counting", MODEL)
    run = worker.run(TINY["tree"].case(0, 4096), tell=True)
    assert run.tokens == [[0, 1, 2, 3, 4]] * 2 + [[0, 1, 2, 3]] * 6
    assert run.seconds > 0
    assert not worker.run(TINY["tree"].case(1, 4096)).tokens
    assert list(worker.versions) == ["treereason"]
    worker.close()


def test_a_side_whose_package_is_missing_is_told() -> None:
    with pytest.raises(NotInstalled, match="a_package_that_nobody_has"):
        Worker(f"{FAKES}:missing", MODEL)


def test_a_side_that_decodes_fewer_tokens_is_told() -> None:
    worker = Worker(f"{FAKES}:short", MODEL)
    with pytest.raises(RuntimeError, match=r"short ended: (?s:.*)decoded 9 tokens instead of 12"):
        worker.run(TINY["samples"].case(0, 4096))


def test_busy_processes_stand_still_until_they_are_needed() -> None:
    def states(busy: Busy) -> list[str]:
        return [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in busy.pids]

    if not Path("/proc/self/stat").exists():
        pytest.skip("no /proc")
    with Busy(1) as busy:
        with busy.running():
            assert states(busy) != ["T"]
        while states(busy) != ["T"]:  # a signal takes a moment
            pass
    assert not busy.pids


@pytest.mark.parametrize(
    ("option", "given", "unknown"), [("--peers", "sequence,nobody", "nobody"), ("--works", "1,tree", "1")]
)
def test_what_is_unknown_is_refused(option: str, given: str, unknown: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        decode.main([option, given])
    assert f"{option}: no {unknown}; there are" in capsys.readouterr().err


def test_what_is_measured_is_recorded_and_shown_in_the_tables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def fakes(names: Sequence[str], model: Model, python: str) -> Iterator[dict[str, FakeSide]]:  # noqa: ARG001
        ours = 1.0 if model.threads == 2 else 1.5
        yield {"tree": FakeSide(ours), **{name: FakeSide(1.25) for name in names}}

    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(decode, "workers", fakes)
    monkeypatch.setattr(decode, "random_llama", lambda _: random_llama(torch.float32, layers=1, hidden=64))
    common = ["--rounds", "2", "--peers", "openvino,vllm", "--record"]
    decode.main([*common, "--works", "1024,tree", "--threads", "2,1"])
    decode.main([*common, "--works", "tree", "--busy", "1"])
    capsys.readouterr()
    decode.main(["--table"])
    shown = capsys.readouterr().out
    assert shown == tables() + "\n"
    works, busy = shown.split("\n\n")
    title = WORKS["1024"].title
    assert f"| random, float32 | {title} | 1.00 s / 3.00 s | 1.25x / 0.83x | 1.25x / 0.83x | - |" in works
    assert len(works.splitlines()) == 4
    assert f"| OpenVINO GenAI | random, float32: {WORKS['tree'].title} | 2 | 1.25 s | 1.25 s (1) | 1.00x |" in busy
    assert len(busy.splitlines()) == 2 + 3
    assert json.loads((tmp_path / "decode.jsonl").read_text().splitlines()[0])["peer_versions"] == {"fake": "1"}


def test_readme_shows_the_recorded_tables() -> None:
    section = (ROOT / "README.md").read_text().split("## How fast it decodes on a CPU")[1].split("\n## ")[0]
    for table in tables().split("\n\n"):
        assert table in section


def test_the_sequence_plan_reads_every_path_once_per_branch() -> None:
    forest = levels((1, 2, 4), (32, 16, 8))
    plan = forest.plan()
    alone = each_branch_alone(plan, np.array(forest.new_tokens, dtype=np.int32))
    assert plan.kv_tokens_read_tree == 32 + 2 * 16 + 4 * 8
    assert alone.kv_tokens_read_tree == 4 * (32 + 16 + 8)
    assert ((alone.node_hi - alone.node_lo) == 1).all()
