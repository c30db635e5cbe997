"""Names that a package offers, each imported when it is first asked for (PEP 562). Standard library only."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package. modules: public name -> the module that defines it, or that it is."""

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        module = importlib.import_module(modules[name])
        found = module if module.__name__ == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted(modules)

    return get, names


def lazy_classes(
    package: str, path: Sequence[str], others: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The same for a package whose files define a class of their own name: best_of_n.py BestOfN, mcts.py MCTS.

    path: the package's `__path__`. others: further names, as in `lazy_names`. `dir()` imports all files.
    """
    by_name = {module.name.replace("_", ""): f"{package}.{module.name}" for module in pkgutil.iter_modules(path)}

    def get(name: str) -> Any:
        module = others.get(name) or (by_name.get(name.lower()) if not name.islower() else None)
        return lazy_names(package, {name: module} if module else {})[0](name)

    def names() -> list[str]:
        found = set(others)
        for short, module in by_name.items():
            found |= {name for name in vars(importlib.import_module(module)) if name.lower() == short and name != short}
        return sorted(found)

    return get, names
