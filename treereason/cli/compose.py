"""The configuration of a run, composed by hydra into plain values; whatever hydra refuses is one clear line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from treereason.cli.overrides import Overrides
from treereason.core import UserError
from treereason.text import one_line

LONGEST_MESSAGE = 2000


def compose(overrides: Overrides, job: list[str], multirun: bool) -> tuple[dict[str, Any], Path | None]:
    """The job's configuration in plain values, and the folder of the run or sweep, None when it is not known yet.

    Whatever hydra would stumble over is a UserError.
    """
    try:
        config = hydra.compose("config", job, return_hydra_config=True)
    except Exception as error:  # hydra's own, and whatever it lets through from files that cannot be read
        try:
            base = plain(hydra.compose("config", overrides.choices_only(job), return_hydra_config=True), resolve=False)
        except Exception:
            pass  # the chosen files are what is broken
        else:
            overrides.check_keys(job, base)
        cause = error if str(error) else error.__cause__ or error
        raise UserError(f"the configuration cannot be composed: {one_line(cause, LONGEST_MESSAGE)}") from None
    run, sweep = (_folder(key, config) for key in ("hydra.run.dir", "hydra.sweep.dir"))
    with open_dict(config):
        del config["hydra"]
    return plain(config), sweep if multirun else run


def plain(config: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """The configuration as dicts, lists and scalars. Raises UserError for a value that is missing or not found."""
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
        raise UserError(f"{key}={folder}: {existing} is a file, not a folder: choose another one")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{key}={folder}: no permission to write in {existing}: choose another folder")
    group, _, name = key.rpartition(".")
    by_clock = "${now:" in str(plain(OmegaConf.select(config, group), resolve=False)[name])
    return None if by_clock else folder  # which may tell hydra another second
