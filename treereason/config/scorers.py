"""Scorers by name or reference. They are found and checked here, and called only in the process that scores."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, cast

from treereason.config.plugins import plugin, plugins
from treereason.config.schema import Config
from treereason.config.user_files import absolute, address, is_reference, load
from treereason.core import Scorer, Task, UserError, basis_of
from treereason.text import as_typed, nearest, one_line

BUILTIN = "treereason.scoring.builtin"


def title_of(reference: str) -> str:
    """What the scorer of a reference is called in the record."""
    return reference.rpartition(":")[2].removeprefix("SCORERS.")


def scorer_reference(name: str | None, task: Task) -> str:
    """The reference that `load` understands in any process, for a name, a reference, or None (the task's own scorer).

    A name is looked up in `SCORERS` of the task's module and of the modules of its base classes, then among those that
    serve every task, then among the plug-ins; in a user's module any function or class will do. Raises UserError.
    """
    name = name if name is not None else getattr(task, "scorer", None)
    title = f"task {type(task).__name__}"
    if not isinstance(name, str):
        raise UserError(f'{title} names no scorer: write scorer = "NAME" in it, or choose with scorer=NAME')
    if is_reference(name):
        return absolute(name)
    for cls in type(task).__mro__[:-1]:
        module = sys.modules[cls.__module__]
        if name in getattr(module, "SCORERS", {}):
            return f"{address(module)}:SCORERS.{name}"
        if callable(vars(module).get(name)) and not module.__name__.startswith("treereason."):
            return f"{address(module)}:{name}"
    if name in builtin():
        return f"{BUILTIN}:SCORERS.{name}"
    if (named := plugin("scorer", name)) is not None:
        return named.reference
    known = {**task_scorers(type(task)), **builtin()}
    hint = nearest(name, [*known, *(one.name for one in plugins("scorer"))])
    if hint.startswith("it may be"):
        named_kinds = [f"{key} ({basis_of(scorer)})" for key, scorer in known.items()]
        hint = "it may be " + ", ".join([*named_kinds, *(one.name for one in plugins("scorer"))])
    raise UserError(f"scorer={one_line(name)}: {title} has no such scorer; {hint}")


def task_scorers(cls: type) -> dict[str, Scorer]:
    """The scorers of a task's class by name, those of its bases included."""
    modules = [sys.modules[base.__module__] for base in cls.__mro__[:-1]]
    return {name: found for module in reversed(modules) for name, found in getattr(module, "SCORERS", {}).items()}


def builtin() -> Mapping[str, Scorer]:
    """The scorers that serve every task, by name."""
    return cast(Mapping[str, Scorer], load(f"{BUILTIN}:SCORERS"))


def importable(scorer: Scorer) -> str | None:
    """The reference under which another process finds the very same object, None where it cannot.

    None for lambdas, closures and objects, and for what a script or notebook defines: another process would have to run
    that from its start.
    """
    module, name = sys.modules.get(getattr(scorer, "__module__", "")), getattr(scorer, "__qualname__", "")
    if module is None or module.__name__ == "__main__" or module.__spec__ is None:
        return None
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{address(module)}:{name}" if found is scorer else None


def scorer_options(scorer: object, config: Config) -> dict[str, Any]:
    """What a built-in class is made with: of the group of options that it names, those that are its fields."""
    group = getattr(scorer, "option_group", None)
    if group is None or not dataclasses.is_dataclass(scorer):
        return {}
    given = getattr(config, group)
    return {field.name: getattr(given, field.name) for field in dataclasses.fields(scorer) if field.init}


def load_scorer(reference: str) -> Any:
    """What the reference leads to: a function, or a class whose instances are scorers. Raises UserError for others."""
    try:
        found = load(reference)
        _check(found, reference)
    except UserError as error:
        raise UserError(f"scorer={as_typed(reference)}: {error}") from None
    return found


def _check(found: object, reference: str) -> None:
    if inspect.ismodule(found):
        raise UserError(f"say which function or class in it, as {reference}:NAME")
    if not isinstance(found, type):
        if not callable(found):
            raise UserError(f"a scorer is a function or a class, and this is of type {type(found).__name__}")
        return
    if (needs := getattr(found, "needs", None)) is not None and find_spec(needs[0]) is None:
        raise UserError(f"it needs {needs[0]}: pip install '{needs[1]}'")
    if not any("__call__" in vars(cls) for cls in found.__mro__):
        raise UserError(f"objects of {found.__name__} cannot be called: give it `def __call__(self, thought)`")
    needed = [
        parameter.name
        for parameter in inspect.signature(found).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise UserError(f"{found.__name__} is made without arguments, so give {needed[0]} of its __init__ a default")
