"""A run or sweep: hydra composes, pydantic checks, `run_experiment` runs. Only `cli` sees a DictConfig."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from treereason.cli import interrupt
from treereason.cli.choices import store_all
from treereason.cli.compose import compose, missing_file, plain
from treereason.cli.flags import hydra_flags, only_shows
from treereason.cli.notes import LONGEST_MESSAGE, complain, note
from treereason.cli.overrides import Overrides
from treereason.cli.values import quoted, typed
from treereason.config.models import ModelConfig
from treereason.config.schema import Config, parse
from treereason.config.secrets import refuse_key
from treereason.config.user_files import is_reference, telling
from treereason.controller.differences import FREE, differences
from treereason.controller.run_spec import RunSpec, spec_of
from treereason.controller.user_code import UserCode
from treereason.core import UserError
from treereason.display.base import Display
from treereason.display.shell import shell_word
from treereason.engine.model.gates import check_checkpoint
from treereason.engine.model.shipped import SHIPPED
from treereason.record.begun_run import BegunRun, begun_run
from treereason.record.folder import folder_lock, unwritable
from treereason.record.journal import NAME as JOURNAL
from treereason.record.summary import NAME as SUMMARY
from treereason.text import as_typed, from_home, one_line, printable, printable_lines

CONFIG = "treereason.conf"
VERSION_BASE = "1.3"
ALL_FAILED = 3
"""Exit code of a run in which every problem failed."""


def run(flags: argparse.Namespace) -> int:
    """Check everything, then run, or show what a flag asks for; returns the exit code.

    Raises UserError, or SystemExit with an exit code.
    """
    start = secrets.token_hex(3)
    OmegaConf.register_new_resolver("treereason_start", lambda: start, replace=True)
    OmegaConf.register_new_resolver("published", missing_file, replace=True)
    given: list[str] = flags.overrides
    if flags.config_dir is not None:
        more = Path(from_home(flags.config_dir))
        try:
            found = more.is_dir()
        except OSError:
            found = False
        if not found:
            raise UserError(f"--config-dir {flags.config_dir}: no such folder")
        given.insert(0, f"hydra.searchpath=[{quoted(f'file://{more.resolve()}')}]")
    multirun = flags.multirun or "hydra.mode=MULTIRUN" in given
    store_all(given)
    with hydra.initialize_config_module(CONFIG, job_name="treereason", version_base=VERSION_BASE):
        loader = GlobalHydra.instance().config_loader()
        overrides = Overrides(given, loader, multirun)
        composed = []
        for job in overrides.jobs():
            composed.append(compose(overrides, job, multirun))
            if only_shows(flags):
                refuse_key(composed[-1].values.get("model", {}).get("api_key_env"))
            else:
                prepare(composed[-1].values)
        texts = overrides.texts(frozenset[str]().union(*(job.names for job in composed)))
    if multirun:
        note(f"{len(composed)} runs")
    last = composed[-1]
    # Before hydra writes its first file there. `_job` holds what is not known yet, and the folders of a sweep.
    with nullcontext() if last.folder is None or only_shows(flags) else folder_lock(last.folder):
        return hand_over(flags, [*texts, *last.homes])


def prepare(values: dict[str, Any]) -> RunSpec:
    """Check a composed configuration and build all of the run that needs no model. Raises UserError."""
    config = parse(values)
    spec = spec_of(config)
    if isinstance(config.model, ModelConfig) and config.model.name not in SHIPPED:
        check_checkpoint(config.model.name)
    return spec


def hand_over(flags: argparse.Namespace, overrides: list[str]) -> int:
    """Start hydra, which makes the folders, saves the configuration and calls `job` for every run.

    Returns ALL_FAILED when no problem of some run came to an answer, else 0.
    """
    summaries: list[dict[str, Any]] = []

    def job(config: DictConfig) -> None:
        summaries.append(_job(flags.config_dir, config))

    argv = sys.argv
    sys.argv = [argv[0], *hydra_flags(flags), *overrides]
    try:
        hydra.main(config_path=f"pkg://{CONFIG}", config_name="config", version_base=VERSION_BASE)(job)()
    except OSError as error:  # of hydra's own files
        raise unwritable(error.filename or "the configuration in .hydra", error.strerror) from error
    except Exception as error:  # of hydra, or of what it makes of its own options: `_job` lets none through
        raise UserError(f"hydra: {one_line(error, LONGEST_MESSAGE)}") from error
    finally:
        sys.argv = argv
    return ALL_FAILED if any(0 < each["problems_done"] == each["failed"] for each in summaries) else 0


def _job(config_dir: str | None, config: DictConfig) -> dict[str, Any]:
    """Check and run one job; returns its summary."""
    # SystemExit, because hydra goes on to the next run after an ordinary exception, and then trims its traceback.
    try:
        folder = Path(HydraConfig.get().runtime.output_dir)
        with folder_lock(folder), telling():
            return _run(prepare(plain(config)), folder, config_dir)
    except UserError as error:
        raise SystemExit(complain(error)) from None
    except Exception:
        print(printable_lines(traceback.format_exc()), end="", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None


def _run(spec: RunSpec, folder: Path, config_dir: str | None) -> dict[str, Any]:
    """Load the model and run; returns the summary. Raises SystemExit for a run that a signal has ended early."""
    hydra_config = HydraConfig.get()
    overrides = tuple(_typed(_given("task"), spec.config))
    before: BegunRun | None = None
    if hydra_config.mode == RunMode.MULTIRUN:
        note(f"run {hydra_config.job.num}: {','.join(sorted(overrides))}")
        before = _begun(spec, folder)
        if before is not None and before.status == "done":
            note(f"{folder} holds this run, and it is done")
            return summary_of(before)
    return go(replace(spec, program=_program(config_dir), overrides=overrides), folder, before=before)


def go(spec: RunSpec, folder: Path, *, before: BegunRun | None = None, force: bool = False) -> dict[str, Any]:
    """Load the model and run, or go on with what was done `before`; returns the summary.

    Raises SystemExit for a run that a signal has ended early, and UserError.
    """
    screen: Display
    user_code = UserCode()
    replaces = before is None and (folder / "results.jsonl").exists()
    earlier = f"{folder} holds an earlier run; its results are replaced once a problem is done"
    if spec.config.workers > 1 or spec.config.launcher != "processes":
        from treereason.controller.workers import run_with_workers
        from treereason.display.modes import display

        if replaces:
            note(earlier)
        screen = display(spec.config.display)
        with interrupt.first_ends_run(screen.stopping, user_code.leave) as stopped:
            summary = run_with_workers(spec, folder, screen, lambda: bool(stopped()), before, force=force)
            return _ended(summary, stopped())
    with _loading(spec.config):
        from treereason.controller.experiment import run_experiment
        from treereason.controller.model import load
        from treereason.display.modes import display

        model = load(spec.config.model, spec.config.engine.cpu)
    if replaces:
        note(earlier)
    if capabilities := getattr(model, "capabilities", None):
        note(f"the server: {capabilities}")
    screen = display(spec.config.display)
    with interrupt.first_ends_run(screen.stopping, user_code.leave) as stopped:
        summary = run_experiment(
            spec, model, folder, screen, lambda: bool(stopped()), user_code, before=before, force=force
        )
        return _ended(summary, stopped())


def _ended(summary: dict[str, Any], code: int) -> dict[str, Any]:
    """The summary of a run that no signal has ended; code: the exit code of the one that came, 0 for none."""
    if code and summary["status"] == "done":  # it is whole, but in a sweep no other may follow
        raise interrupt.Interrupted(code - 128)
    if code:  # closed cleanly, and said so
        raise SystemExit(code)
    return summary


def summary_of(before: BegunRun) -> dict[str, Any]:
    """The summary of a run that is done. Raises UserError where it is missing."""
    path = before.path.with_name(SUMMARY)
    try:
        return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        raise UserError(f"{path} is missing: python -m treereason.record.rebuild {path.parent} writes it") from None


def _begun(spec: RunSpec, folder: Path) -> BegunRun | None:
    """What an earlier process has done of this very run in the folder; None for nothing, or another run."""
    if not (folder / JOURNAL).exists():
        return None
    before = begun_run(folder / JOURNAL)
    if before is None:
        return None
    found = "model.endpoint ", "model.style "  # a server's `auto` has come to
    changes = differences(before.started.config, spec.config.model_dump(mode="json"))
    return None if any(not change.startswith((*FREE, *found)) for change in changes) else before


def _given(kind: Literal["task", "hydra"]) -> list[str]:
    """The job's overrides as they were given; what reads as an interpolation in them is not resolved."""
    return cast(list[str], OmegaConf.to_container(getattr(HydraConfig.get().overrides, kind), resolve=False))


def _typed(overrides: Sequence[str], config: Config) -> Iterator[str]:
    """The overrides as they can be typed again: hydra knows a user's class under a name of its own."""
    names = {f"{kind}=": values["name"] for kind, values in (("task", config.task), ("search", config.search))}
    for override in overrides:
        key = override.partition("=")[0] + "="
        yield key + typed(as_typed(names[key])) if is_reference(names.get(key, "")) else override


def _program(config_dir: str | None) -> str:
    """How this program is called from here, with what says where its overrides' files lie, for a shell."""
    path = Path(sys.argv[0])
    words = ["python", "-m", "treereason"]
    if path.name == "treereason":
        found = shutil.which("treereason")
        words = ["treereason" if found is not None and Path(found).samefile(path) else as_typed(str(path.absolute()))]
    if config_dir is not None:
        words.append(f"--config-dir={config_dir}")
    else:
        words += [text for text in _given("hydra") if text.startswith("hydra.searchpath=")]
    return " ".join(map(shell_word, words))


def _loading(config: Config) -> AbstractContextManager[object]:
    """A line on the terminal while torch and the model load: silence looks like a hang."""
    console = Console(stderr=True)
    if config.display not in ("auto", "rich") or not console.is_terminal:
        return nullcontext()
    return console.status(Text(f"loading the model {printable(config.model.name)}"))
