"""Scorers by name or reference. They are found and checked here, and called only in the process that scores."""

from __future__ import annotations

import inspect
import sys
from importlib.util import find_spec
from typing import Any

from treereason.config.plugins import plugin, plugins
from treereason.config.user_files import absolute, address, is_reference, load
from treereason.core import Scorer, Task, UserError
from treereason.text import as_typed, nearest


def scorer_reference(name: str | None, task: Task) -> str:
    """The reference that `load` understands in any process, for a name, a reference, or None (the task's own scorer).

    A name is looked up in `SCORERS` of the task's module and of the modules of its base classes, and then among the
    plug-ins; in a user's module any function or class will do. Raises UserError.
    """
    name = name if name is not None else getattr(task, "scorer", None)
    title = f"task {type(task).__name__}"
    if not isinstance(name, str):
        raise UserError(f'{title} names no scorer: write scorer = "NAME" in it, or choose with scorer=NAME')
    if is_reference(name):
        return absolute(name)
    known: list[str] = []
    for cls in type(task).__mro__[:-1]:
        module = sys.modules[cls.__module__]
        scorers = getattr(module, "SCORERS", {})
        if name in scorers:
            return f"{address(module)}:SCORERS.{name}"
        if callable(vars(module).get(name)) and not module.__name__.startswith("treereason."):
            return f"{address(module)}:{name}"
        known.extend(scorers)
    if (named := plugin("scorer", name)) is not None:
        return named.reference
    known.extend(one.name for one in plugins("scorer"))
    raise UserError(f"scorer={name}: {title} has no such scorer; {nearest(name, known)}")


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
