"""What decides the results of a run beside its configuration, in digests that two processes can compare."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import treereason
from treereason import kernels, tasks
from treereason.controller.parts import scorer_of
from treereason.controller.run_spec import RunSpec
from treereason.core import Problem
from treereason.engine.model.language_model import LanguageModel
from treereason.jsonable import jsonable
from treereason.record.summary import versions

if TYPE_CHECKING:  # its packages are an extra
    from treereason.remote.server import Server

DATA = "problems"
SOURCES = (".py", ".cpp", ".h", ".yaml")
SHOWN_ONLY = ("display", "analysis", "__pycache__")
"""Folders of code that decides no result."""


def fingerprint(spec: RunSpec, model: LanguageModel | Server) -> dict[str, str]:
    """problems, weights, code and the versions of libraries; "files of the user" where a run has some.

    A server does not show its weights: its name stands in the configuration, and nothing more is known.
    """
    found = {name: version or "" for name, version in versions().items()}
    found[DATA] = digest_of_problems(spec.problems)
    found["code"] = _digest_of_code()
    if isinstance(model, LanguageModel):
        found["weights"] = model.digest_of_weights()
        found["attention"] = f"{model.attention} on {model.device.type}"
    if own := sorted(_files_of_user(spec)):
        found["files of the user"] = _digest_of_files(own)
    return found


def digest_of_problems(problems: Sequence[Problem]) -> str:
    """Of their ids, inputs and targets, in order."""
    return _digest(json.dumps(jsonable([p.id, p.input, p.target])).encode() for p in problems)


@cache
def _digest_of_code() -> str:
    """Of our own code, as it is when it is first asked for."""
    return _digest_of_files(_sources())


def _sources() -> Iterator[Path]:
    for package in (treereason, kernels, tasks):
        for top in package.__path__:
            for folder, inner, names in os.walk(top):
                inner[:] = sorted(name for name in inner if name not in SHOWN_ONLY)
                yield from (Path(folder, name) for name in sorted(names) if name.endswith(SOURCES))


def _files_of_user(spec: RunSpec) -> Iterator[Path]:
    """The files of the task, search, scorer and plug-ins that are not our own."""
    for part in (type(spec.task), type(spec.search), scorer_of(spec)):
        module = inspect.getmodule(part)
        name = getattr(module, "__file__", None)
        if module is not None and name and not module.__name__.startswith("treereason."):
            yield Path(name)
    for plugin in spec.config.plugins:
        if plugin.endswith(".py"):
            yield Path(plugin)
        elif name := getattr(sys.modules.get(plugin), "__file__", None):
            yield Path(name)


def _digest_of_files(paths: Iterable[Path]) -> str:
    return _digest(path.read_bytes() for path in paths if path.is_file())


def _digest(parts: Iterable[bytes]) -> str:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
