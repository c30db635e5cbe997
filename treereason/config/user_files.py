"""A user's code by reference, `./mine.py:Name` or `package.module:Name`: imported here, its errors told in one line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from treereason.config import folders
from treereason.core import UserError
from treereason.text import LONGEST_LINE, as_typed, describe, first_line, from_home, nearest, shorten

_loaded: set[str] = set()
"""First parts of the names of the modules that references have led to."""


def is_reference(name: str) -> bool:
    """Whether this is `./file.py`, `./file.py:Name` or `package.module:Name`, not the name of something built in."""
    return ":" in name or _is_file(name)


def absolute(reference: str) -> str:
    """The same reference, with the same meaning in a process that was started in another folder."""
    where, name = _split(reference)
    if not _is_file(where):
        return reference
    path = str(_path(where))
    return f"{path}:{name}" if name else path


def load(reference: str) -> Any:
    """What the reference names; a dotted name reaches into classes and dicts, without a name it is the module.

    A file is executed once in a process, however often it is referred to. It imports its neighbours as a script does,
    before what is installed (see folders.py). A `package` that is not installed is looked for in the current folder.
    Raises UserError.
    """
    folders.install()
    where, name = _split(reference)
    module = _module(where)
    found: Any = module
    for part in name.split(".") if name else []:
        try:
            found = found[part] if isinstance(found, Mapping) else getattr(found, part)
        except (AttributeError, KeyError):
            raise UserError(f"{where} has no {name}; {nearest(name, defined_names(module))}") from None
        except Exception as error:
            raise UserError(f"{reference}: {_reason(error, where)}") from error
    return found


def address(module: ModuleType) -> str:
    """The part before the colon in a reference to something in this module."""
    return str(module.__file__) if folders.is_users(module.__name__) else module.__name__


def defined_names(module: ModuleType) -> list[str]:
    """Public classes and functions that the module itself defines."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


@contextmanager
def blaming(option: str, name: str, *passing: type[Exception]) -> Iterator[None]:
    """What a user's own code raises inside, as a UserError that names option, file and line.

    A UserError and `passing` go through. So does what something built in raises: that is a bug, and wants a traceback.
    """
    try:
        yield
    except BaseException as error:
        where = None if is_reference(name) else _last_users_line(error)  # the latter of a plug-in that has a name
        if isinstance(error, (UserError, KeyboardInterrupt, *passing)) or not (is_reference(name) or where):
            raise
        reason = f"{where}: {describe(error)}" if where else _reason(error, _split(name)[0])
        raise UserError(f"{option}={name}: {reason}") from error


@contextmanager
def telling(*passing: type[BaseException]) -> Iterator[None]:
    """The last guard: what a user's own code raises anywhere inside, as a UserError that names file and line.

    `passing`, and what comes from no user's code, goes through: that is a bug of ours, and wants a traceback.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, (UserError, KeyboardInterrupt, *passing)) or (where := _last_users_line(error)) is None:
            raise
        raise UserError(f"{where}: {describe(error)}") from error


def _last_users_line(error: BaseException) -> str | None:
    """`mine.py:7`, the innermost line of users' code that the exception came through."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _loaded:
            found = f"{as_typed(frame.f_code.co_filename)}:{line}"
    return found


def _is_file(name: str) -> bool:
    return name.endswith(".py") or ".py:" in name


def _split(reference: str) -> tuple[str, str]:
    if reference.endswith(".py"):
        return reference, ""
    where, _, name = reference.rpartition(":")
    return where, name


def _path(where: str) -> Path:
    try:
        return Path(from_home(where)).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a character that no name can have
        raise UserError(f"{shorten(where, LONGEST_LINE)}: {first_line(error)}") from None


def _module(where: str) -> ModuleType:
    try:
        if _is_file(where):
            return _file_module(_path(where))
        if where in sys.modules:  # find_spec does not know a notebook's __main__
            return sys.modules[where]
        top = where.partition(".")[0]
        if importlib.util.find_spec(top) is None:
            _search_in(Path.cwd())
        if top != "treereason":
            _loaded.add(top)
        return importlib.import_module(where)
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if where.startswith("treereason.") and not isinstance(error, ModuleNotFoundError):
            raise
        raise UserError(f"{where} does not import: {_reason(error, where)}") from error


def _file_module(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    if path.suffix != ".py":
        raise UserError(f"{path}: the name of a file of Python code ends with .py")
    # For what imports by a computed name, or from the project's folder; `import` itself looks beside the file first.
    _search_in(path.parent)
    _search_in(Path.cwd())
    name = folders.module_name(path)
    _loaded.add(name.partition(".")[0])
    return importlib.import_module(name)


def _search_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _reason(error: BaseException, where: str) -> str:
    """The exception in one line, with the line of the user's file in which it came up."""
    file = _source(where)
    line, message = None, first_line(error)
    for frame in traceback.extract_tb(error.__traceback__):
        if _path(frame.filename) == file:
            line = frame.lineno
    if isinstance(error, SyntaxError) and error.filename and _path(error.filename) == file:
        line, message = error.lineno, error.msg
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"line {line}: {text}" if line is not None else text


def _source(where: str) -> Path | None:
    """The file that a reference leads to, None for what has no file or is not found."""
    if _is_file(where):
        return _path(where)
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(where)
        return _path(spec.origin) if spec is not None and spec.origin is not None else None
    return None
