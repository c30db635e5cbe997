"""What the Makefile says of `make gpu`, as far as a CPU can tell."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import gpu_checks
from tools.gpu_checks import ROOT, Part, measurements, parts_of_tests, run, tell


def python(code: str) -> tuple[str, str]:
    return "-c", code


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_without_an_accelerator_it_ends_with_an_error_and_runs_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TREEREASON_RESULTS": str(tmp_path / "results")}
    done = subprocess.run(
        ["make", "gpu", f"PYTHON={sys.executable}"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "no accelerator" in done.stderr
    assert not list(tmp_path.iterdir())


def test_every_part_runs_whatever_fails_and_the_verdicts_come_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [
        Part("bad", python("print('x' * 99_000 + '\\nthe reason'); raise SystemExit(3)")),
        Part("slow", python("import time; print('begun'); time.sleep(60)"), share=0.1),
        Part("empty", python("raise SystemExit(5)"), may_be_empty=True),
        Part("good", python("print('y\\n' * 99_000 + 'the table')"), shown=4_500),
    ]
    begin = time.monotonic()
    done = run(parts, tmp_path, begin + 10)
    assert time.monotonic() - begin < 30
    assert [each.failure for each in done] == ["exit code 3", "took too long", "", ""]
    assert tell(done) == 1
    printed = capsys.readouterr().out
    assert len(printed) < 12_000
    assert "the table" in printed
    verdicts = printed.splitlines()[-4:]
    assert [line.split()[0] for line in verdicts] == ["bad", "slow", "empty", "good"]
    assert "the reason" in verdicts[0]
    assert (tmp_path / "slow.log").read_text() == "begun\n"
    assert tell(run([Part("good", python(""))], tmp_path, time.monotonic() + 60)) == 0


def test_what_it_prints_at_most_fits_a_remote_reply() -> None:
    """Three parts that failed, both measurements, and the verdicts of all parts."""
    ends = [*[gpu_checks.FAILURE_CHARACTERS] * 3, *(part.shown for part in measurements(300))]
    assert sum(ends) + 100 * len(ends) + 8 * 150 < 12_000


def test_all_tests_for_a_gpu_are_in_its_parts() -> None:
    [together] = parts_of_tests(16, has_xdist=True)
    assert together.arguments[together.arguments.index("-n") + 1] == "15"
    apart = parts_of_tests(16, has_xdist=False)
    for name in ("tests/kernels/test_kernels.py", "tests/engine/steps/test_graphs.py"):
        assert name in together.arguments
        assert any(name in part.arguments for part in apart)
    chosen = [part.arguments[part.arguments.index("-k") + 1] for part in apart if "-k" in part.arguments]
    assert chosen[-1] == " and ".join(f"not {name}" for name in chosen[:-1])


def test_measurements_end_before_the_time_is_up() -> None:
    for seconds in (100, 250, 400):
        probe, benchmark = measurements(seconds)
        given = float(benchmark.arguments[benchmark.arguments.index("--seconds") + 1])
        assert probe.share * seconds + given < seconds


@pytest.mark.slow
def test_the_tests_for_a_gpu_need_no_installation(tmp_path: Path) -> None:
    """Only torch, numpy, triton, pytest and transformers are there: what else the package needs is hidden."""
    for name in ("hydra", "omegaconf", "pydantic", "rich", "hypothesis"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not on that machine')\n")
    [part] = parts_of_tests(2, has_xdist=False)[-1:]
    files = [name for name in part.arguments if name.startswith("tests/")]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, *gpu_checks.PYTEST, "--collect-only", *files, gpu_checks.KERNELS],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_kernels.py" in done.stdout


@pytest.mark.parametrize("name", ["gpu_probe", "tree_attention"])
def test_its_benchmarks_are_there(name: str) -> None:
    assert importlib.util.find_spec(f"benchmarks.{name}") is not None
