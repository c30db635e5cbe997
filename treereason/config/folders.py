"""The folder of a user's file as a package of its own: files import their neighbours, whatever other folders hold.

The module of /home/me/mine.py is called `/home/me.mine`. The name leads back to the file in any process, so what pickle
sends by the name of its module arrives in the process of a scorer, too.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any
from urllib.parse import quote, unquote


def module_name(path: Path) -> str:
    """What the module of a user's file is called; path: absolute."""
    return f"{_encoded(str(path.parent))}.{_encoded(path.stem)}"


def is_users(module: str) -> bool:
    """Whether a module of this name comes from a user's folder."""
    return module.startswith("/")


def install() -> None:
    """Let this process import the modules of users' folders by their names."""
    if not any(isinstance(finder, _Folders) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Folders())


class _Folders(MetaPathFinder):
    """Finds the folders, as packages, and what lies in them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not is_users(fullname):
            return None
        folder, _, last = fullname.rpartition(".")
        if not folder:
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [_decoded(fullname)]
            return spec
        file = Path(_decoded(folder), f"{_decoded(last)}.py")
        if "." not in folder and file.is_file():
            return importlib.util.spec_from_file_location(fullname, file, loader=_Neighbourly(fullname, str(file)))
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and type(found.loader) is SourceFileLoader:
            found.loader = _Neighbourly(fullname, found.loader.path)
        return found


class _Neighbourly(SourceFileLoader):
    """Loads a module for which `import helpers` means the helpers.py of its own folder first, as for a script."""

    def exec_module(self, module: ModuleType) -> None:
        folder = module.__name__.partition(".")[0]

        def import_(
            name: str,
            globals: Mapping[str, object] | None = None,
            locals: Mapping[str, object] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> ModuleType:
            top = name.partition(".")[0]
            if level == 0 and _is_neighbour(folder, top, module.__file__):
                found = builtins.__import__(f"{folder}.{name}", globals, locals, fromlist or ("",), 0)
                return found if fromlist else sys.modules[f"{folder}.{top}"]
            return builtins.__import__(name, globals, locals, fromlist or (), level)

        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_}
        super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002
        # Compiled anew each time: a stale .pyc of a file that was edited twice within a second would be run.
        return self.source_to_code(self.get_data(self.path), self.path)


def _is_neighbour(folder: str, name: str, importer: str | None) -> bool:
    """Whether an import of `name` in `importer`, a file of the folder, means what lies beside it."""
    path = Path(_decoded(folder))
    if importer == str(path / f"{name}.py") and _is_file_or_package(name):
        return False  # no file imports itself: a json.py with `import json` means Python's
    file = next((file for file in (path / f"{name}.py", path / name / "__init__.py") if file.is_file()), None)
    loaded = sys.modules.get(name)
    if file is None:
        return (path / name).is_dir() and not _is_file_or_package(name)
    # What the process has already imported from this very file, treereason among it, is not imported twice.
    return loaded is None or not _same_file(getattr(loaded, "__file__", None), file)


def _is_file_or_package(name: str) -> bool:
    """Whether an ordinary import finds more than a folder without __init__.py, which gives way to all else."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module that somebody made by hand
        return True
    return spec is not None and spec.origin is not None


def _same_file(loaded: Any, file: Path) -> bool:
    try:
        return loaded is not None and Path(loaded).samefile(file)
    except OSError:
        return False


def _encoded(text: str) -> str:
    """Without dots, which part the names of packages."""
    return quote(text, safe="/ ").replace(".", "%2E")


def _decoded(name: str) -> str:
    return unquote(name)
