"""What a configuration may not ask hydra for: to make objects, to change folder or environment."""

from __future__ import annotations

import re
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from treereason.core import UserError

DEEPEST = 50
_OBJECTS = ("_target_", "()")
"""Keys by which hydra, and Python's logging, make an object of any class or call any function."""
_ALLOWED = {
    "hydra.launcher._target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra.sweeper._target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
}
_REFUSED = {
    "hydra.job.chdir": "a run stays in the folder that its paths were typed in; leave it out",
    "hydra.job.env_set": "set environment variables in the shell, before treereason starts",
    "hydra.callbacks": "a configuration cannot make objects; leave it out",
    "hydra.sweeper.params": "sweep with -m OPTION=VALUE,VALUE instead, so that every run is checked before the first",
}
_LOGGING = ("hydra.job_logging", "hydra.hydra_logging")
_LOG_CLASS = re.compile(r"logging\.(StreamHandler|FileHandler|NullHandler|Formatter)")
_LOG_OBJECT = re.compile(r"ext://sys\.(stdout|stderr)")


def check(config: DictConfig) -> None:
    """Refuse a composed configuration that would run code or move the run. Raises UserError.

    Nothing in a configuration needs to name code but task, search and scorer, which are loaded as the user's own.
    """
    _walk(config, "")
    for name, instead in _REFUSED.items():
        *groups, key = name.split(".")
        node: Any = config
        for group in groups:
            node = _get(node, group)
        if isinstance(node, DictConfig) and _get(node, key):
            raise UserError(f"{name}: {instead}")
    sweeper = _get(config.hydra, "sweeper")
    batch = _get(sweeper, "max_batch_size") if isinstance(sweeper, DictConfig) else None
    if isinstance(batch, int) and batch < 1:
        raise UserError(f"hydra.sweeper.max_batch_size={batch}: should be 1 or more; leave it out")


def _walk(node: DictConfig | ListConfig, where: str, depth: int = 0) -> None:
    """Look at every value as hydra would see it, interpolations resolved."""
    if depth > DEEPEST:
        raise UserError(f"{where[:100]}...: nested more than {DEEPEST} deep")
    if node._is_none() or node._is_missing():
        return
    for key in node.keys() if isinstance(node, DictConfig) else range(len(node)):
        name = f"{where}.{key!s}" if where else str(key)
        value = _get(node, key)
        if key in _OBJECTS and (name not in _ALLOWED or value != _ALLOWED[name]):
            raise UserError(f"{name}: a configuration cannot make objects; leave it out")
        if name.startswith(_LOGGING):
            _check_logging(name, key, value)
        if isinstance(value, (DictConfig, ListConfig)):
            _walk(value, name, depth + 1)


def _check_logging(name: str, key: object, value: object) -> None:
    text = value if isinstance(value, str) else ""
    unknown = key == "class" and not _LOG_CLASS.fullmatch(text)
    if unknown or (text.startswith("ext:") and not _LOG_OBJECT.fullmatch(text)):
        raise UserError(f"{name}={text}: only handlers of Python's logging that write to streams and files are served")


def _get(node: DictConfig | ListConfig, key: Any) -> Any:
    """The value with its interpolations resolved, None where only a running job can do that."""
    try:
        value = node[key]
    except (OmegaConfBaseException, ValueError, RecursionError):
        return None
    return OmegaConf.create(cast(Any, value)) if type(value) in (dict, list) else value
