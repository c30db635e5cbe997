"""The configuration of a run, composed by hydra into plain values; whatever hydra refuses is one clear line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, StringNode, open_dict
from omegaconf.errors import OmegaConfBaseException

from treereason.cli import safety
from treereason.cli.choices import FOLDERS
from treereason.cli.notes import LONGEST_MESSAGE
from treereason.cli.overrides import Overrides
from treereason.cli.values import as_name, is_misread, quoted
from treereason.config.options import REQUIRED
from treereason.config.validate import takes_text
from treereason.core import UserError
from treereason.core.given_file import file_name
from treereason.text import LONGEST_LINE, from_home, one_line, shorten, shown

_NO_FILE = "UserError raised while resolving interpolation: "  # OmegaConf's words for what `missing_file` raises


@dataclass(frozen=True)
class Composed:
    """One job's configuration.

    values: in plain form. folder: of the run or sweep, None when it is not known yet. names: options that hydra read as
    numbers, and whose values are text: they must be quoted for it. homes: overrides with ~ in place of the home folder.
    """

    values: dict[str, Any]
    folder: Path | None
    names: frozenset[str]
    homes: tuple[str, ...]


def compose(overrides: Overrides, job: list[str], multirun: bool) -> Composed:
    """Compose a job's configuration, and check what it asks of hydra.

    Whatever hydra would stumble over is a UserError.
    """
    config = _composed(overrides, job)
    parsed = overrides.parsed(job)
    if names := frozenset(_names(parsed, config)):
        job = [
            f"{override.get_key_element()}={as_name(override.get_value_string())}"
            if override.key_or_group in names
            else text
            for text, override in zip(job, parsed, strict=True)
        ]
        config = _composed(overrides, job)
    if homes := tuple(_homes(config)):
        config = _composed(overrides, [*job, *homes])
    safety.check(config)
    run, sweep, _ = (_folder(key, config) for key in FOLDERS)
    with open_dict(config):
        del config["hydra"]
    return Composed(plain(config), sweep if multirun else run, names, homes)


def _composed(overrides: Overrides, job: list[str]) -> DictConfig:
    try:
        return hydra.compose("config", job, return_hydra_config=True)
    except UserError:  # of a plug-in, which hydra has asked for
        raise
    except Exception as error:  # hydra's own, and whatever it lets through from files that cannot be read
        try:
            base = plain(hydra.compose("config", overrides.choices_only(job), return_hydra_config=True), resolve=False)
        except Exception:
            pass  # the chosen files are what is broken
        else:
            overrides.check_keys(job, base)
        cause = error if str(error) else error.__cause__ or error
        files = "".join(f" with {file_name(path)}" for path in overrides.own_files(job))
        raise UserError(f"the configuration{files} cannot be composed: {one_line(cause, LONGEST_MESSAGE)}") from None


def _names(parsed: Iterable[Override], config: DictConfig) -> Iterator[str]:
    """The options whose value hydra took for a number or truth value, and that hold text."""
    for override in parsed:
        key = override.key_or_group
        if not is_misread(override):
            continue
        if key.startswith("hydra."):
            group, _, name = key.rpartition(".")
            node = OmegaConf.select(config, group)
            held = node._get_node(name) if isinstance(node, DictConfig) else None
            if override.value() is not None and (key in FOLDERS or isinstance(held, StringNode)):
                yield key
        elif takes_text(config, key, override.value(), override.get_value_string().strip()):
            yield key


def _homes(config: DictConfig) -> Iterator[str]:
    for key in FOLDERS:
        group, _, name = key.rpartition(".")
        folder = plain(OmegaConf.select(config, group), resolve=False)[name]
        if not isinstance(folder, str):
            raise UserError(f"{key}={shown(folder)}: the name of a folder is text: put it in quotes")
        if folder == REQUIRED:
            raise UserError(f"{key} is missing: give {key}=FOLDER")
        if folder.startswith("~"):
            yield f"{key}={quoted(from_home(folder))}"


def plain(config: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """The configuration as dicts, lists and scalars. Raises UserError for a value that is missing or not found."""
    try:
        missing = sorted(OmegaConf.missing_keys(config)) if resolve else []
        if missing:
            raise UserError(f"{missing[0]} is missing: give {missing[0]}=VALUE")
        return cast(dict[str, Any], OmegaConf.to_container(config, resolve=resolve))
    except OmegaConfBaseException as error:
        if (said := str(error).splitlines()[0]).startswith(_NO_FILE):
            source = said.removeprefix(_NO_FILE)
            raise UserError(f"{error.full_key} is missing: give {error.full_key}=FILE, such as {source}") from None
        raise UserError(f"{error.full_key}: {said}") from None


def missing_file(name: str, address: str) -> str:
    """What `${published:NAME,ADDRESS}` in a configuration means: a file that the user has to get. Raises UserError."""
    raise UserError(f"{name} from {address}")


def _folder(key: str, config: DictConfig) -> Path | None:
    """The folder that an option names, None while only hydra can name it.

    One that cannot be made or written is refused, before anything is computed.
    """
    try:
        folder = Path(str(OmegaConf.select(config, key))).absolute()
    except (OmegaConfBaseException, ValueError):
        return None  # it speaks of the running job, which does not exist yet
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UserError(f"{key}={shorten(str(folder), LONGEST_LINE)}: {error.strerror}") from None
    if not existing.is_dir():
        raise UserError(f"{key}={folder}: {existing} is a file, not a folder: choose another one")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{key}={folder}: no permission to write in {existing}: choose another folder")
    group, _, name = key.rpartition(".")
    by_clock = "${now:" in str(plain(OmegaConf.select(config, group), resolve=False)[name])
    return None if by_clock else folder  # which may tell hydra another second
