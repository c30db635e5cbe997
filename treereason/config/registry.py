"""Which tasks and searches are built in, and how a name, built in or a plug-in's, becomes a class.

A file in tasks/ or treereason/search/ is a choice when it defines the class of its own name: best_of_n.py defines
BestOfN, mcts.py may define MCTS. All other files in these folders are helpers.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Collection, Iterable
from functools import cache
from types import ModuleType
from typing import Literal, cast

from treereason.config.plugins import METHODS, PluginKind, plugin, plugins, registered, trouble
from treereason.config.scorers import builtin as builtin_scorers
from treereason.config.user_files import is_reference, load
from treereason.core import Search, UserError
from treereason.text import nearest

Kind = Literal["task", "search"]
KINDS: tuple[Kind, ...] = ("task", "search")
PACKAGES: dict[Kind, str] = {"task": "treereason.tasks", "search": "treereason.search"}


@cache
def builtin(kind: Kind) -> dict[str, type]:
    """The built-in classes by the names of their files, in alphabetical order."""
    package = importlib.import_module(PACKAGES[kind])
    names = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg]
    modules = {name: importlib.import_module(f"{PACKAGES[kind]}.{name}") for name in sorted(names)}
    return {
        name: cls
        for name, module in modules.items()
        for cls in classes(kind, module)
        if cls.__name__.lower() == name.replace("_", "")
    }


def classes(kind: Kind, module: ModuleType) -> list[type]:
    """The classes that a module itself defines and that have the methods of a task or search."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and _has_methods(kind, value)
    ]


def names(kind: Kind) -> list[str]:
    """Everything that can be chosen by name: what is built in, then plug-ins. Imports no plug-in."""
    return list(dict.fromkeys([*builtin(kind), *(one.name for one in plugins(kind))]))


def taken(kind: PluginKind) -> Collection[str]:
    """The names that no plug-in can have: those of what is built in, and serves every run."""
    return builtin_scorers() if kind == "scorer" else builtin(kind)


def find(kind: Kind, name: str) -> type:
    """The class behind a name, `./file.py:Class`, `./file.py` or `package.module:Class`. Raises UserError."""
    if name in builtin(kind):
        return builtin(kind)[name]
    reference, whose = name, ""
    if not is_reference(name):
        named = plugin(kind, name)
        if named is None:
            raise UserError(f"{kind}={name}: no such {kind}; {nearest(name, names(kind))}")
        reference, whose = named.reference, f" of {named.package}"
    try:
        found = load(reference)
        found = _only_class(kind, found, reference) if isinstance(found, ModuleType) else found
        _check(kind, found)
    except UserError as error:
        raise UserError(f"{kind}={name}{whose}: {error}") from None
    return cast(type, found)


def import_plugins(references: Iterable[str]) -> None:
    """Import `package.module` and `./file.py`, so that what they register has its name. Raises UserError."""
    for reference in references:
        try:
            load(reference if is_reference(reference) else f"{reference}:")
            for one in registered():
                if (why := trouble(one, taken(one.kind))) is not None:
                    raise UserError(f"{one.kind} {one.name}: {why}")
        except UserError as error:
            raise UserError(f"plugins={reference}: {error}") from None


def _only_class(kind: Kind, module: ModuleType, where: str) -> type:
    found = classes(kind, module)
    if len(found) == 1:
        return found[0]
    wanted = f"class with {' and '.join(METHODS[kind])}"
    if not found:
        raise UserError(f"the file has no {wanted}: write one, or name another file")
    names = ", ".join(cls.__name__ for cls in found)
    raise UserError(f"the file has more than one {wanted} ({names}): say which, as {where}:NAME")


def _check(kind: Kind, found: object) -> None:
    """Refuse what a user's reference leads to when it cannot be a task or search."""
    if not isinstance(found, type):
        raise UserError(f"this is of type {type(found).__name__}: name a class with {' and '.join(METHODS[kind])}")
    if not _has_methods(kind, found):
        raise UserError(f"{found.__name__} does not have the methods of a {kind}: {' and '.join(METHODS[kind])}")
    own = set(vars(found).get("__annotations__", ())) - {"scorer"}
    if own and "__dataclass_fields__" not in vars(found):
        raise UserError(f"write @dataclass above the class, so that {min(own)} becomes an option")
    for method in ("parse", "solved") if kind == "task" else ():
        if not hasattr(found, method):
            raise UserError(f"{found.__name__} has no {method}: a task needs it")
    if kind == "search" and not inspect.iscoroutinefunction(cast(type[Search], found).run):
        raise UserError("its run is not a coroutine: write `async def run(self, tree)`")


def _has_methods(kind: Kind, cls: type) -> bool:
    return all(hasattr(cls, method) for method in METHODS[kind])
