"""All that can be chosen by name, with its options: what is built in, what a module registered, what is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any

from treereason.cli.help import choices, class_options, model_options, model_summary, run_options, summary
from treereason.config.options import Option
from treereason.config.plugins import Plugin, PluginKind, plugins, registered, trouble
from treereason.config.registry import KINDS, find, taken
from treereason.config.scorers import builtin as builtin_scorers
from treereason.config.scorers import load_scorer, task_scorers
from treereason.core import Scorer, basis_of

LONGEST_IMPORT_S = 20.0
"""For the plug-ins of one package."""


@dataclass(frozen=True)
class Entry:
    """package: that brings it, None for what is built in. tasks: those that know a scorer by this name. problem: why
    it cannot be chosen, None where it can.
    """

    kind: str
    name: str
    summary: str = ""
    options: tuple[Option, ...] = ()
    package: str | None = None
    tasks: tuple[str, ...] = ()
    problem: str | None = None


def entries() -> list[Entry]:
    """All there is, by kind, what is built in first."""
    kinds: tuple[PluginKind, ...] = (*KINDS, "scorer")
    here = registered()
    described = installed([one for kind in kinds for one in plugins(kind) if one not in here])
    found = [
        *_builtin(),
        *(_named(one, describe(one.kind, one.reference)) for one in here),
    ]
    return sorted([*found, *described], key=lambda entry: (*kinds, "model").index(entry.kind))


def describe(kind: PluginKind, name: str) -> Entry:
    """What a name or reference leads to. Raises UserError."""
    if kind == "scorer":
        return Entry(kind, name, _scorer_summary(load_scorer(name)))
    return Entry(kind, name, summary(find(kind, name)), tuple(class_options(kind, name)))


def installed(found: Sequence[Plugin]) -> Iterator[Entry]:
    """What the plug-ins of packages are.

    A process of its own imports each package, for an import may hang, print or end it; all of them work at once.
    """
    started = []
    for _, group in groupby(sorted(found, key=lambda one: one.package), key=lambda one: one.package):
        brought = list(group)
        words = [f"{one.kind}={one.reference}" for one in brought]
        started.append((brought, _start(words)))
    for brought, process in started:
        told = _told(process, len(brought))
        for number, one in enumerate(brought):
            entry = told[number] if isinstance(told, list) else Entry(one.kind, one.name, problem=told)
            yield _named(one, entry)


def _named(one: Plugin, entry: Entry) -> Entry:
    """What a plug-in's reference leads to, under its name, with why that name does not lead to it."""
    problem = trouble(one, taken(one.kind)) or entry.problem
    return replace(entry, name=one.name, package=one.package, problem=problem)


def _builtin() -> Iterator[Entry]:
    for kind in KINDS:
        yield from (describe(kind, name) for name in choices(kind))
    knowing: dict[str, list[str]] = {}
    scorers = dict(builtin_scorers())
    for task in choices("task"):
        known = task_scorers(find("task", task))
        scorers |= known
        for name in known:
            knowing.setdefault(name, []).append(task)
    for name, scorer in scorers.items():
        yield Entry(
            "scorer", name, _scorer_summary(scorer), _scorer_options(scorer), tasks=tuple(knowing.get(name, ()))
        )
    for name in choices("model"):
        yield Entry("model", name, model_summary(name), tuple(model_options(name)))


def _scorer_options(scorer: Any) -> tuple[Option, ...]:
    """The options of a built-in scorer, which stand in a group of the configuration."""
    group = getattr(scorer, "option_group", None)
    own = {f"{group}.{each.name}" for each in fields(scorer)} if group is not None else set()
    return tuple(option for option in run_options() if option.name in own)


def _scorer_summary(scorer: Scorer) -> str:
    return f"{basis_of(scorer)}: {summary(scorer)}"


def _start(words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "treereason", "list", "--json", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _told(process: subprocess.Popen[str], number: int) -> list[Entry] | str:
    """The entries that the process printed last, or why there are none. It may have printed what it liked before."""
    try:
        out, _ = process.communicate(timeout=LONGEST_IMPORT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"importing it took more than {LONGEST_IMPORT_S:g} s"
    last = out.splitlines()[-1] if out.strip() else "[]"
    told = json.loads(last) if process.returncode == 0 and last.startswith("[{") else []
    if len(told) != number:
        return f"importing it ended Python with exit code {process.returncode}"
    return [_read(values) for values in told]


def _read(values: Mapping[str, Any]) -> Entry:
    return Entry(**{**values, "options": tuple(Option(**each) for each in values["options"])})
