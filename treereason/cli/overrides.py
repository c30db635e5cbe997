"""What was typed behind `treereason`: checked against the configuration, with one clear line for each mistake."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override

from treereason.cli import values
from treereason.cli.choices import PLUGINS, plugin_modules, store_reference
from treereason.config.registry import KINDS
from treereason.config.secrets import repeatable
from treereason.config.user_files import absolute, is_reference
from treereason.core import UserError
from treereason.text import nearest, one_line

MOST_RUNS = 10_000


class Overrides:
    """Overrides that name only what exists.

    A user's class (`task=./mine.py:MyTask`) is replaced by the choice that it gets in hydra's store.
    """

    def __init__(self, arguments: Sequence[str], loader: ConfigLoader, multirun: bool) -> None:
        self._loader = loader
        self._listed: dict[tuple[str, ObjectType], list[str]] = {}
        self._search_path = [text for text in arguments if text.startswith("hydra.searchpath=")]
        parsed = [self._parse(text) for text in arguments]
        for override in parsed:
            if override.is_sweep_override() and not multirun:
                raise UserError(
                    f"{repeatable(str(override.input_line))}: several values: put -m in front to run each of them, "
                    f"or quote the value: '{override.key_or_group}=\"...\"'"
                )
            if override.is_sweep_override() and override.key_or_group.startswith(("hydra.", "hydra/")):
                raise UserError(
                    f"{repeatable(str(override.input_line))}: hydra's own options have one value in a sweep"
                )
        idle, used = ("hydra.run.dir", "hydra.sweep.dir") if multirun else ("hydra.sweep.dir", "hydra.run.dir")
        keys = {override.key_or_group for override in parsed}
        if idle in keys and used not in keys:
            raise UserError(f"{idle}: says nothing {'with' if multirun else 'without'} -m: give {used} instead")
        self._parsed = [self._with_choices(override) for override in parsed]
        self._groups = [group for group in self._list("", groups=True) if group != "hydra"]
        for override in self._parsed:
            self._check_choice(override)

    def texts(self, names: Collection[str] = ()) -> list[str]:
        """All overrides, as hydra reads them; of one option the last, for hydra stumbles over values since replaced.

        names: options whose values are text, whatever they look like.
        """
        found: dict[str, str] = {}
        for override in self._parsed:
            key, text = override.get_key_element(), str(override.input_line)
            if override.key_or_group in names:
                text = f"{key}={','.join(map(values.as_name, values.spellings(override)))}"
            found[key] = text
        return list(found.values())

    def jobs(self) -> list[list[str]]:
        """The overrides of every run: one list, or in a multirun one for each combination."""
        found: dict[str, list[str]] = {}
        for override in self._parsed:
            key = override.get_key_element()
            swept = override.is_sweep_override()
            found[key] = (
                [f"{key}={value}" for value in values.spellings(override)] if swept else [str(override.input_line)]
            )
        return [list(job) for job in values.combined(found.values(), MOST_RUNS)]

    def parsed(self, job: Sequence[str]) -> list[Override]:
        """A job's overrides as hydra reads them."""
        return [self._parse(text) for text in job]

    def choices_only(self, job: Sequence[str]) -> list[str]:
        """Those of a job's overrides that choose a file of a group, or say where such files lie."""
        chosen = [text for text in job if self._parse(text).key_or_group in self._groups]
        return list(dict.fromkeys([*self._search_path, *chosen]))

    def own_files(self, job: Sequence[str]) -> list[Path]:
        """The user's configuration files that a job chooses."""
        where: list[object] = [value for text in self._search_path for value in _listed(self._parse(text).value())]
        folders = [Path(str(value).removeprefix("file://")) for value in where]
        chosen = [(override.key_or_group, name) for override in self.parsed(job) for name in values.texts(override)]
        paths = [folder / group / f"{name}.yaml" for folder in folders for group, name in chosen]
        return [path for path in paths if os.path.lexists(path)]

    def check_keys(self, job: Sequence[str], config: Mapping[str, Any]) -> None:
        """Refuse overrides of options that `config`, composed from the job's choices, does not have."""
        known = list(_keys(config))
        for override in map(self._parse, job):
            key = override.key_or_group
            if override.is_add() or override.is_force_add() or "/" in key:
                continue
            if key not in known and key not in self._groups:
                near = nearest(key, [*self._groups, *known])
                hint = near if near.startswith("did") else "`treereason --help` lists them"
                raise UserError(f"{key}: no such option{_chosen(key, config)}; {hint}")

    def _parse(self, text: str) -> Override:
        return values.parse(text, self._loader)

    def _with_choices(self, override: Override) -> Override:
        if override.key_or_group == PLUGINS and (modules := plugin_modules(override)):
            where = ",".join(values.quoted(absolute(module)) for module in modules)
            return self._parse(f"{override.get_key_element()}=[{where}]")
        for kind in KINDS:
            names = list(values.texts(override)) if override.key_or_group == kind else []
            if any(is_reference(name) for name in names):
                choices = [store_reference(kind, name) if is_reference(name) else values.typed(name) for name in names]
                return self._parse(f"{kind}={','.join(choices)}")
        return override

    def _check_choice(self, override: Override) -> None:
        key = override.key_or_group
        if key not in self._groups or override.is_delete():
            return
        for name in values.texts(override):
            if name not in self._names(key):
                raise UserError(f"{key}={name}: no such {key}; {nearest(name, list(self._names(key)))}")

    def _names(self, group: str, folder: str = "") -> Iterator[str]:
        """All choices of a group; those in a folder of it are called folder/name."""
        where = f"{group}/{folder}".rstrip("/")
        yield from (f"{folder}{name}" for name in self._list(where))
        for inner in self._list(where, groups=True):
            yield from self._names(group, f"{folder}{inner}/")

    def _list(self, group: str, groups: bool = False) -> list[str]:
        key = group, ObjectType.GROUP if groups else ObjectType.CONFIG
        if key not in self._listed:  # each question makes hydra copy all that it knows of its files
            self._listed[key] = self._ask(*key)
        return self._listed[key]

    def _ask(self, group: str, kind: ObjectType) -> list[str]:
        try:
            return self._loader.get_group_options(group, kind, overrides=self._search_path)
        except UserWarning as warning:
            raise UserError(f"{', '.join(self._search_path)}: {one_line(warning)}") from None


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _keys(config: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for name, value in config.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")


def _chosen(key: str, config: Mapping[str, Any]) -> str:
    group = key.partition(".")[0]
    chosen = config.get(group)
    return f" with {group}={chosen['name']}" if "." in key and isinstance(chosen, Mapping) and "name" in chosen else ""
