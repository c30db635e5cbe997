"""Tasks and searches as choices of hydra's groups: their options are the fields of their classes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.override_parser.types import Override
from omegaconf import AnyNode, OmegaConf, StringNode

from treereason.cli import values
from treereason.config.models import ModelConfig
from treereason.config.options import defaults
from treereason.config.registry import KINDS, Kind, builtin, find, import_plugins, names
from treereason.config.schema import Config
from treereason.config.user_files import absolute, blaming
from treereason.core import UserError

PLUGINS = "plugins"
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
_INTERPOLATION = re.compile(r"(\\*)\$\{")
_UNSAFE = re.compile(r"[^A-Za-z0-9_]+")


def store_all(arguments: Iterable[str]) -> None:
    """Put into hydra's store what conf/config.yaml starts from: the options of every run, and all that has a name.

    arguments: overrides, of which `plugins=...` is imported for what it registers. Raises UserError.
    """
    import_named(arguments)
    config = Config(task={}, search={}, model=ModelConfig(name="embedded"))
    _store("options", config.model_dump(exclude={"task", "search", "model"}))
    for kind in KINDS:
        for name, cls in builtin(kind).items():
            _store(name, {"name": name, **defaults(cls)}, kind)
        for name in set(names(kind)) - builtin(kind).keys():
            node = _OnDemand(f"{name}.yaml", OmegaConf.create({}), kind, None, "treereason")
            ConfigStore.instance().repo[kind][node.name] = node
    _keep_spelling()


def import_named(arguments: Iterable[str]) -> None:
    """Import the modules that `plugins=...` among the overrides names. Raises UserError."""
    for argument in arguments:
        if argument.partition("=")[0].lstrip("+") == PLUGINS:
            import_plugins(plugin_modules(values.parse(argument)))


def plugin_modules(override: Override) -> list[str]:
    """The value of `plugins=./mine.py` or `plugins=[package.module,./mine.py]`; what is malformed is told later."""
    found = None if override.is_sweep_override() else override.value()
    return [str(each) for each in (found if isinstance(found, list) else [found]) if isinstance(each, str)]


class _OnDemand(ConfigNode):
    """A plug-in's choice: its class is imported once hydra composes, or completes, a run with it."""

    def __copy__(self) -> ConfigNode:
        """What hydra's store hands out."""
        assert self.group in KINDS
        name = self.name.removesuffix(".yaml")
        node = OmegaConf.create(escaped(_options(self.group, name, name)))
        return ConfigNode(self.name, node, self.group, None, self.provider)


def _keep_spelling() -> None:
    """Let hydra's schema keep a number that a file gives for a folder, which it would write as a text of its own.

    `dir: 2024_11_05` would become 20241105; as a number it is noticed, and refused (compose.py).
    """
    schema = ConfigStore.instance().repo["hydra"]["config.yaml"].node
    for option in FOLDERS:
        group, name = option.split(".")[1:]
        node = schema[group]._get_node(name)
        if isinstance(node, StringNode):
            schema[group].__dict__["_content"][name] = AnyNode(node._value(), key=name, parent=schema[group])


def store_reference(kind: Kind, reference: str) -> str:
    """Put a user's class into hydra's store; returns its choice there. Raises UserError.

    Its options are then set, swept, checked, completed and saved like those of what is built in.
    """
    cls, where = find(kind, reference), absolute(reference)
    node = _options(kind, reference, where)
    stored = ConfigStore.instance().repo.get(kind, {})
    stem = _UNSAFE.sub("_", where.rpartition("/")[2].partition(".py")[0].partition(":")[0])  # hydra's grammar reads it
    for number in itertools.count():
        choice = f"{stem}.{_UNSAFE.sub('_', cls.__name__)}" + (f".{number}" if number else "")
        earlier = stored.get(f"{choice}.yaml")
        if earlier is None or earlier.node["name"] == where:
            break
    _store(choice, node, kind)
    return choice


def _options(kind: Kind, name: str, saved: str) -> dict[str, Any]:
    """What a user's class has in hydra's store. saved: its name in the configuration. Raises UserError."""
    cls = find(kind, name)
    with blaming(kind, name):
        fields = defaults(cls)
    for taken in ("name", "defaults"):  # the latter by hydra, for a list of files
        if taken in fields:
            raise UserError(f"{kind}={name}: {cls.__name__} has a field called {taken}, which is taken: rename it")
    return {"name": saved, **fields}


def escaped(value: Any) -> Any:
    """A plain value as OmegaConf keeps it: what looks like an interpolation is text."""
    if isinstance(value, str):
        return _INTERPOLATION.sub(lambda found: 2 * found[1] + "\\${", value)
    if isinstance(value, list):
        return [escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return value


def _store(name: str, node: dict[str, Any], group: str | None = None) -> None:
    store = ConfigStore.instance()
    node = {key: escaped(value) for key, value in node.items()}
    entries = store.repo.get(group, {}) if group else store.repo
    entries.pop(f"{name}.yaml", None)  # hydra 1.4 warns of a name that is already there
    store.store(name=name, node=node, group=group, provider="treereason")
