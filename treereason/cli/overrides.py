"""What was typed behind `treereason`: checked against the configuration, with one clear line for each mistake."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from treereason.cli.choices import store_reference
from treereason.config.registry import KINDS
from treereason.config.secrets import repeatable
from treereason.config.user_files import is_reference
from treereason.core import UserError
from treereason.text import nearest


class Overrides:
    """Overrides that name only what exists.

    A user's class (`task=./mine.py:MyTask`) is replaced by the choice that it gets in hydra's store.
    """

    def __init__(self, arguments: Sequence[str], loader: ConfigLoader, multirun: bool) -> None:
        self._loader = loader
        self._search_path = [text for text in arguments if text.startswith("hydra.searchpath=")]
        self._parsed = [self._with_choices(self._parse(text)) for text in arguments]
        self._groups = [group for group in self._list("", groups=True) if group != "hydra"]
        for override in self._parsed:
            if override.is_sweep_override() and not multirun:
                raise UserError(
                    f"{repeatable(str(override.input_line))}: several values: put -m in front to run each of them, "
                    f"or quote the value: '{override.key_or_group}=\"...\"'"
                )
            self._check_choice(override)

    def texts(self) -> list[str]:
        """All overrides, as hydra reads them; of one option the last, for hydra stumbles over values since replaced."""
        return list({override.get_key_element(): str(override.input_line) for override in self._parsed}.values())

    def jobs(self) -> list[list[str]]:
        """The overrides of every run: one list, or in a multirun one for each combination."""
        values: dict[str, list[str]] = {}
        for override in self._parsed:
            key = override.get_key_element()
            if not override.is_sweep_override():
                values[key] = [str(override.input_line)]
            elif override.is_discrete_sweep():
                values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            else:
                raise UserError(f"{override.input_line}: give a list of values, or range(START,STOP,STEP)")
        return [list(job) for job in itertools.product(*values.values())]

    def choices_only(self, job: Sequence[str]) -> list[str]:
        """Those of a job's overrides that choose a file of a group, or say where such files lie."""
        chosen = [text for text in job if self._parse(text).key_or_group in self._groups]
        return list(dict.fromkeys([*self._search_path, *chosen]))

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
        key = text.partition("=")[0]
        if not key.strip("+~ ") or ("=" not in text and not text.startswith("~")):
            raise UserError(
                f"{text}: is not an option: write OPTION=VALUE, such as task=sorting; see `treereason --help`"
            )
        try:
            return OverridesParser.create(config_loader=self._loader).parse_overrides([text])[0]
        except HydraException:
            raise UserError(
                f"{repeatable(text)}: cannot be read; quote a value with special characters: '{key}=\"...\"'"
            ) from None

    def _with_choices(self, override: Override) -> Override:
        for kind in KINDS:
            names = list(_values(override)) if override.key_or_group == kind else []
            if any(is_reference(name) for name in names):
                choices = [store_reference(kind, name) if is_reference(name) else name for name in names]
                return self._parse(f"{kind}={','.join(choices)}")
        return override

    def _check_choice(self, override: Override) -> None:
        key = override.key_or_group
        if key not in self._groups or override.is_delete():
            return
        valid = self._list(key)
        for name in _values(override):
            if name not in valid:
                raise UserError(f"{key}={name}: no such {key}; {nearest(name, valid)}")

    def _list(self, group: str, groups: bool = False) -> list[str]:
        if groups:
            return self._loader.list_groups(group)
        return self._loader.get_group_options(group, config_name="config", overrides=self._search_path)


def _values(override: Override) -> Iterable[str]:
    """The values of an override, as plain text."""
    if override.is_discrete_sweep():
        for value in override.sweep_iterator():
            yield value.text if isinstance(value, QuotedString) else str(value)
    else:
        yield str(override.value())


def _keys(config: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for name, value in config.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")


def _chosen(key: str, config: Mapping[str, Any]) -> str:
    group = key.partition(".")[0]
    chosen = config.get(group)
    return f" with {group}={chosen['name']}" if "." in key and isinstance(chosen, Mapping) and "name" in chosen else ""
