"""The three ways to have treereason: editable install, wheel, and the checkout on PYTHONPATH. No network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = {".git", ".venv", "build", "dist", "runs", "multirun", "outputs", "treereason.egg-info"}

# Imports from every folder and checks that the name `kernels` is left to the package of that name on PyPI.
PROBE = """
import importlib.util, pathlib, sys
import treereason, treereason.conf, treereason.tasks.sorting, treereason.kernels.plan, treereason.embedded
from treereason.config.validate import build_task
assert type(build_task({"name": "sorting"})).__name__ == "Sorting"
from treereason.tasks.sorting import Sorting
assert treereason.tasks.sorting.Sorting is Sorting
spec = importlib.util.find_spec("kernels")
assert spec is None or spec.origin is None, f"kernels is taken: {spec}"
print(pathlib.Path(treereason.__file__).resolve().parent)
from treereason.cli.main import main
main(["--help"])
"""


def python(*arguments: str, folder: Path, path: str) -> str:
    """Output of a fresh interpreter that sees `path` and the installed dependencies, started in `folder`."""
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*arguments: str, folder: Path) -> None:
    common = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    python("-m", "pip", *arguments[:1], *common, *arguments[1:], folder=folder, path="")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing behind in it."""
    copy = tmp_path_factory.mktemp("checkout") / "treereason"
    ignore = shutil.ignore_patterns(*LEFT_OUT, "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, copy, ignore=ignore, symlinks=True)
    if not (copy / "README.md").exists():
        (copy / "README.md").write_text("")
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    pip("wheel", "--wheel-dir", "dist", ".", folder=checkout)
    (path,) = (checkout / "dist").glob("*.whl")
    return path


def works(folder: Path, path: str) -> Path:
    """Import and run from an empty folder; returns where the package lies."""
    shown = python("-m", "treereason", "--cfg", "job", "task=few_shot", folder=folder, path=path)
    assert "operations: 4" in shown
    return probed(PROBE, folder, path)


def probed(probe: str, folder: Path, path: str) -> Path:
    """Where the package lies, which also shows its help."""
    found, help_text = python("-c", probe, folder=folder, path=path).split("\n", 1)
    assert "Usage: treereason" in help_text
    return Path(found)


def test_pythonpath_alone(checkout: Path, tmp_path: Path) -> None:
    assert works(tmp_path, str(checkout)) == checkout / "treereason"


def test_wheel(wheel: Path, tmp_path: Path) -> None:
    pip("install", "--target", "site", str(wheel), folder=tmp_path)
    site = tmp_path / "site"
    assert works(tmp_path, str(site)) == site / "treereason"
    script = (site / "bin" / "treereason").read_text()
    assert "from treereason.__main__ import console" in script


def test_editable(checkout: Path, tmp_path: Path) -> None:
    pip("install", "--target", str(tmp_path / "site"), "--editable", str(checkout), folder=tmp_path)
    # PYTHONPATH folders do not have their .pth files read, site folders do. The environment that runs this test may
    # hold an editable install of its own, under the same name: it is put out of sight first.
    start = (
        "import site, sys\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if '__editable__' not in getattr(f, '__module__', '')]\n"
        "for name in [name for name in sys.modules if name.startswith('__editable__')]: del sys.modules[name]\n"
        f"sys.path.insert(0, {str(tmp_path / 'site')!r}); site.addsitedir(sys.path[0])\n"
    )
    assert probed(start + PROBE, tmp_path, "") == checkout / "treereason"


def test_the_wheel_holds_all_files_and_no_top_level_package_but_treereason(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"treereason"}
    for folder in ("conf", "kernels", "tasks"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".yaml"):
                assert f"treereason/{file.relative_to(ROOT)}" in names
    for file in (ROOT / "treereason").rglob("*"):
        if file.is_file() and file.suffix != ".pyc":
            assert str(file.relative_to(ROOT)) in names, "see [tool.setuptools] in pyproject.toml"
    assert "treereason/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_packages_of_pyproject_are_the_folders() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "treereason").rglob("*.py")}
    outside = [path for name in ("kernels", "tasks", "conf") for path in (ROOT / name).rglob("*.py")]
    folders |= {Path("treereason") / path.parent.relative_to(ROOT) for path in outside}
    assert set(listed) == {".".join(folder.parts) for folder in folders}
