"""What others bring under a name of its own: entry points of installed packages, and what `register` stands above.

A name leads to a reference (see user_files.py), and nothing is imported before that is asked for. What is built in
keeps its name. Two plug-ins of one name both lose it: each is still had by its reference.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Literal, TypeVar, overload

from treereason.config.user_files import address
from treereason.core import UserError
from treereason.text import as_typed

PluginKind = Literal["task", "search", "scorer"]
GROUPS: dict[str, PluginKind] = {
    "treereason.tasks": "task",
    "treereason.searches": "search",
    "treereason.scorers": "scorer",
}
"""Groups of entry points."""
METHODS: dict[Literal["task", "search"], tuple[str, ...]] = {"task": ("problems", "prompt"), "search": ("run",)}
_NAME = re.compile(r"\w[\w-]*")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_T = TypeVar("_T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Plugin:
    """package: the distribution that brings it, or the module or file that registered it."""

    kind: PluginKind
    name: str
    reference: str
    package: str


_registered: dict[tuple[PluginKind, str], Plugin] = {}
"""By name, for the life of the process, as the modules that registered them."""


@overload
def register(plugin: _T) -> _T: ...
@overload
def register(plugin: str) -> Callable[[_T], _T]: ...


def register(plugin: _T | str) -> _T | Callable[[_T], _T]:
    """Give a task, search or scorer a name: `@register` above the class or function, or `@register("name")`.

    plugin: what stands below, or the name for it. Without one it is the name of the function, or that of the class in
        small letters: BestOfN becomes best_of_n.

    What has `problems` and `prompt` is a task, what has `run` is a search, and all else that can be called is a scorer.
    The command line knows names from the modules that `plugins=[package.module,./file.py]` imports. Raises UserError
    for a name that something else has, and for what another process could not import.
    """
    if isinstance(plugin, str):
        return lambda found: _register(plugin, found)
    return _register(None, plugin)


def registered() -> list[Plugin]:
    """Those that modules of this process have registered."""
    return list(_registered.values())


def plugins(kind: PluginKind) -> list[Plugin]:
    """All of a kind by name, the installed ones of one name beside each other; none is imported for that."""
    found = [plugin for plugin in registered() if plugin.kind == kind]
    known = {(plugin.name, plugin.reference) for plugin in found}
    found += [
        plugin
        for plugin in _installed(tuple(sys.path))
        if plugin.kind == kind and (plugin.name, plugin.reference) not in known
    ]
    return sorted(found, key=lambda plugin: (plugin.name, plugin.package, plugin.reference))


def plugin(kind: PluginKind, name: str) -> Plugin | None:
    """The one of this name, None where there is none. Raises UserError where there are several."""
    found = [one for one in plugins(kind) if one.name == name]
    if len(found) > 1:
        raise UserError(f"{kind}={name}: {_listed(found)} all have this name: write {kind}={found[0].reference}")
    return found[0] if found else None


def trouble(one: Plugin, builtin: Iterable[str]) -> str | None:
    """Why a name does not lead to its plug-in: it cannot be typed, or others have it. None where it does."""
    if not _NAME.fullmatch(one.name):
        return "its name may hold letters, digits, _ and - only"
    if one.name in builtin:
        return f"its name is that of a built-in {one.kind}: write {one.kind}={one.reference}"
    others = [other for other in plugins(one.kind) if other.name == one.name and other != one]
    return f"{_listed(others)} has the same name: write {one.kind}={one.reference}" if others else None


def _register(name: str | None, found: _T) -> _T:
    module, qualname = sys.modules.get(found.__module__), getattr(found, "__qualname__", "")
    kind = _kind(found)
    if name is None:
        name = _WORDS.sub("_", found.__name__).lower() if isinstance(found, type) else qualname
    if module is None or "<" in qualname or not qualname:
        raise UserError(f"register: {name}: write it at the top of a module, where a {kind} can be imported from")
    made = Plugin(kind, name, f"{address(module)}:{qualname}", as_typed(address(module)))
    if not _NAME.fullmatch(name):
        raise UserError(f"register: {name}: a name may hold letters, digits, _ and - only")
    earlier = _registered.get((kind, name), made)
    if earlier.reference != made.reference:
        raise UserError(f"register: {name} is already the {kind} {earlier.reference}: give another name")
    _registered[kind, name] = made
    return found


def _kind(found: object) -> PluginKind:
    for kind, methods in METHODS.items():
        if isinstance(found, type) and all(hasattr(found, method) for method in methods):
            return kind
    if isinstance(found, type) and not any("__call__" in vars(cls) for cls in found.__mro__):
        wanted = "problems and prompt (a task), run (a search) or __call__ (a scorer)"
        raise UserError(f"register: {found.__name__} has no {wanted}")
    return "scorer"


@cache
def _installed(path: tuple[str, ...]) -> Sequence[Plugin]:
    """Entry points of the packages that lie on a search path; of a package that lies there twice, the first."""
    found: dict[str, list[Plugin]] = {}
    for distribution in metadata.distributions(path=list(path)):
        try:
            package = str(distribution.name)
            points = [point for point in distribution.entry_points if point.group in GROUPS]
        except Exception:  # half a package, or half removed
            continue
        found.setdefault(package, [Plugin(GROUPS[one.group], one.name, one.value, package) for one in points])
    return [plugin for brought in found.values() for plugin in brought]


def _listed(found: Iterable[Plugin]) -> str:
    return " and ".join(f"{plugin.reference} of {plugin.package}" for plugin in found)
