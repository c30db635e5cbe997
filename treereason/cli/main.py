"""The command line: hydra composes, pydantic checks, `run_experiment` runs. The only module that sees a DictConfig."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from treereason import __version__
from treereason.cli import interrupt
from treereason.cli.help import text as help_text
from treereason.cli.overrides import Overrides
from treereason.config import plugins
from treereason.config.schema import Config, ModelConfig, nearest, parse
from treereason.controller.run_spec import RunSpec, specify
from treereason.core import UserError
from treereason.engine.model.gates import check_checkpoint
from treereason.record.folder import folder_lock, unwritable
from treereason.text import as_typed, one_line

CONFIG = "treereason.conf"
VERSION_BASE = "1.3"
INTERRUPTED = 130
LONGEST_MESSAGE = 2000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    # OpenMP reads it when torch loads it: waiting threads spin for some microseconds, then sleep. Endless spinning made
    # runs 500 times slower on a busy machine, sleeping at once made steps a fifth slower on an idle one (docs/log.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hydra raises what it would print, and `_hydra` makes a line of it
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        return _complain(error)
    except SystemExit as stop:  # how `_job` ends a run early from inside hydra
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        print("\ntreereason: interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED


def _main(arguments: list[str]) -> int:
    flags = _parser().parse_intermixed_args(arguments)
    if flags.help:
        print(help_text())  # noqa: T201
        return 0
    if flags.version:
        print(f"treereason {__version__}")  # noqa: T201
        return 0
    if flags.multirun and _shows(flags):
        raise UserError("-m runs and cannot be joined with a flag that only shows something")
    # Hydra 1.4 announces that these names will go in 1.5, which pyproject.toml leaves out; 1.3 has no others.
    warnings.filterwarnings("ignore", message=r"(register_new_resolver|The version_base)")
    start = secrets.token_hex(3)
    OmegaConf.register_new_resolver("treereason_start", lambda: start, replace=True)
    given: list[str] = flags.overrides
    if flags.config_dir is not None:
        if not Path(flags.config_dir).is_dir():
            raise UserError(f"--config-dir {flags.config_dir}: no such folder")
        given.insert(0, f"hydra.searchpath=['file://{Path(flags.config_dir).resolve()}']")
    multirun = flags.multirun or "hydra.mode=MULTIRUN" in given
    with hydra.initialize_config_module(CONFIG, job_name="treereason", version_base=VERSION_BASE):
        loader = GlobalHydra.instance().config_loader()
        overrides = Overrides(given, loader, multirun)
        jobs = overrides.jobs()
        for job in jobs:
            values, folder = _compose(overrides, job, multirun)
            if not _shows(flags):
                prepare(values)
    if multirun:
        print(f"treereason: {len(jobs)} runs", file=sys.stderr)  # noqa: T201
    # Before hydra writes its first file there. `_job` holds what is not known yet, and the folders of a sweep.
    with nullcontext() if folder is None or _shows(flags) else folder_lock(folder):
        _hydra(flags, overrides.texts())
    return 0


def prepare(values: dict[str, Any]) -> RunSpec:
    """Check a composed configuration and build all of the run that needs no model."""
    config = parse(values)
    spec = specify(config, plugins.task(config.task), plugins.search(config.search))
    if isinstance(config.model, ModelConfig) and config.model.name != "embedded":
        check_checkpoint(config.model.name)
    return spec


def _compose(overrides: Overrides, job: list[str], multirun: bool) -> tuple[dict[str, Any], Path | None]:
    """The job's configuration in plain values, and the folder of the run or sweep, None when it is not known yet.

    Whatever hydra would stumble over is a UserError.
    """
    try:
        config = hydra.compose("config", job, return_hydra_config=True)
    except Exception as error:  # hydra's own, and whatever it lets through from files that cannot be read
        try:
            base = _plain(hydra.compose("config", overrides.choices_only(job), return_hydra_config=True), resolve=False)
        except Exception:
            pass  # the chosen files are what is broken
        else:
            overrides.check_keys(job, base)
        cause = error if str(error) else error.__cause__ or error
        raise UserError(f"the configuration cannot be composed: {one_line(cause, LONGEST_MESSAGE)}") from None
    run, sweep = (_folder(key, config) for key in ("hydra.run.dir", "hydra.sweep.dir"))
    with open_dict(config):
        del config["hydra"]
    return _plain(config), sweep if multirun else run


def _plain(config: DictConfig, resolve: bool = True) -> dict[str, Any]:
    try:
        missing = sorted(OmegaConf.missing_keys(config)) if resolve else []
        if missing:
            raise UserError(f"{missing[0]} is missing: give {missing[0]}=VALUE")
        return cast(dict[str, Any], OmegaConf.to_container(config, resolve=resolve))
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from None


def _folder(key: str, config: DictConfig) -> Path | None:
    """The folder that an option names, None while only hydra can name it.

    One that cannot be made or written is refused, before anything is computed.
    """
    try:
        folder = Path(str(OmegaConf.select(config, key))).absolute()
    except (OmegaConfBaseException, ValueError):
        return None  # it speaks of the running job, which does not exist yet
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f"{key}={folder}: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{key}={folder}: no permission to write in {existing}")
    group, _, name = key.rpartition(".")
    by_clock = "${now:" in str(_plain(OmegaConf.select(config, group), resolve=False)[name])
    return None if by_clock else folder  # which may tell hydra another second


def _hydra(flags: argparse.Namespace, overrides: list[str]) -> None:
    """Hand over to hydra, which makes the folders, saves the configuration and calls `_job` for every run."""
    argv = sys.argv
    sys.argv = [argv[0], *_hydra_flags(flags), *overrides]
    try:
        hydra.main(config_path=f"pkg://{CONFIG}", config_name="config", version_base=VERSION_BASE)(_job)()
    except OSError as error:  # of hydra's own files
        raise unwritable(error.filename or "the configuration in .hydra", error.strerror) from error
    finally:
        sys.argv = argv


def _job(config: DictConfig) -> None:
    # SystemExit, because hydra goes on to the next run after an ordinary exception, and then trims its traceback.
    try:
        folder = Path(HydraConfig.get().runtime.output_dir)
        with folder_lock(folder):
            status = _run(prepare(_plain(config)), folder)
        if status == "interrupted":  # closed cleanly, and said so
            raise SystemExit(INTERRUPTED)
    except UserError as error:
        raise SystemExit(_complain(error)) from None
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None


def _run(job: RunSpec, folder: Path) -> object:
    """Load the model and run; returns the status in the summary."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        print(f"treereason: run {hydra_config.job.num}: {hydra_config.job.override_dirname}", file=sys.stderr)  # noqa: T201
    with _loading(job.config):
        from treereason.controller.experiment import run_experiment
        from treereason.controller.model import load
        from treereason.display.modes import display

        model = load(job.config.model)
    if (folder / "results.jsonl").exists():
        print(f"treereason: {folder} holds an earlier run; its results are replaced", file=sys.stderr)  # noqa: T201
    job = replace(job, program=_program(), overrides=tuple(_typed(hydra_config.overrides.task, job.config)))
    screen = display(job.config.display)
    with interrupt.first_ends_run(screen.stopping) as stopped:
        status = run_experiment(job, model, folder, screen, stopped).get("status")
        if stopped() and status == "done":  # while its end was recorded: it is whole, but no other may follow it
            raise KeyboardInterrupt
    return status


def _typed(overrides: Sequence[str], config: Config) -> Iterator[str]:
    """The overrides as they can be typed again: hydra knows a user's file under a name of its own."""
    files = {f"{kind}=": params["name"] for kind, params in (("task", config.task), ("search", config.search))}
    for override in overrides:
        key = override.partition("=")[0] + "="
        yield key + as_typed(files[key]) if plugins.is_file(files.get(key, "")) else override


def _program() -> str:
    """How this program is called from here."""
    path = Path(sys.argv[0])
    if path.name != "treereason":
        return "python -m treereason"
    if (found := shutil.which("treereason")) is not None and Path(found).samefile(path):
        return "treereason"
    return as_typed(str(path.absolute()))


def _loading(config: Config) -> AbstractContextManager[object]:
    """A line that stands while torch and the model load: seconds of silence look like a hang."""
    console = Console(stderr=True)
    if config.display not in ("auto", "rich") or not console.is_terminal:
        return nullcontext()
    return console.status(f"loading the model {config.model.name}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        word = message.partition("unrecognized arguments: ")[2].split(" ")[0]
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        raise UserError(f"{word}: no such flag; {nearest(word, flags)}" if word else message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="treereason", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-c", "--cfg", choices=["job", "hydra", "all"])
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--config-dir")
    parser.add_argument("--hydra-help", action="store_true")
    parser.add_argument(
        "--info", nargs="?", const="all", choices=["all", "config", "defaults", "plugins", "searchpath"]
    )
    parser.add_argument("--shell-completion", action="store_true")
    parser.add_argument("overrides", nargs="*")
    return parser


def _hydra_flags(flags: argparse.Namespace) -> list[str]:
    names = [name for name in ("multirun", "resolve", "hydra_help", "shell_completion") if getattr(flags, name)]
    values = [f"--{name}={value}" for name in ("cfg", "info") if (value := getattr(flags, name)) is not None]
    return [f"--{name.replace('_', '-')}" for name in names] + values


def _shows(flags: argparse.Namespace) -> bool:
    """Whether hydra only shows something, and nothing will run."""
    return bool(flags.cfg or flags.info or flags.hydra_help or flags.shell_completion)


def _complain(error: UserError) -> int:
    print(f"treereason: error: {one_line(error, LONGEST_MESSAGE)}", file=sys.stderr)  # noqa: T201
    return 2
