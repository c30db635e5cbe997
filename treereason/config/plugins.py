"""Tasks, searches and scorers by name or from a user's file, imported only when asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from treereason.config.schema import explain, nearest
from treereason.core import Problem, Prompt, Scorer, Search, Task, Thought, UserError
from treereason.jsonable import jsonable
from treereason.text import first_line

Kind = Literal["task", "search"]

BUILTIN: dict[Kind, dict[str, str]] = {
    "task": {
        "sorting": "treereason.tasks.sorting:Sorting",
        "document_merging": "treereason.tasks.document_merging:DocumentMerging",
        "few_shot": "treereason.tasks.few_shot:FewShot",
        "recorded": "treereason.tasks.recorded:Recorded",
    },
    "search": {
        "tree_of_thoughts": "treereason.search.tree_of_thoughts:TreeOfThoughts",
        "self_consistency": "treereason.search.self_consistency:SelfConsistency",
        "best_of_n": "treereason.search.best_of_n:BestOfN",
        "single_sample": "treereason.search.single_sample:SingleSample",
        "recorded": "treereason.search.recorded:Recorded",
    },
}
# By these methods the one class of a user's file is recognised.
METHODS: dict[Kind, tuple[str, ...]] = {"task": ("problems", "prompt"), "search": ("run",)}

_FILE = re.compile(r"\.py(:[\w.]+)?$")
_FILE_MODULE = "treereason_file_"


def task(params: Mapping[str, Any]) -> Task:
    """The task that `params["name"]` names, built from the other parameters."""
    return cast(Task, _build("task", params))


def search(params: Mapping[str, Any]) -> Search:
    """The search that `params["name"]` names, built from the other parameters."""
    return cast(Search, _build("search", params))


def problems(task: Task, name: str, seed: int, style: str) -> Sequence[Problem]:
    """The task's problems; UserError when the task called `name` cannot give them, or no prompt for the first."""
    with _running("task", name):
        found = task.problems(seed)
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise UserError(f"task={name}: problems() returned {type(found).__name__}: return a list of Problem")
    if not found:
        raise UserError(f"task={name}: there are no problems in it; see task.path and task.limit")
    seen: set[str] = set()
    for number, problem in enumerate(found, start=1):
        if not isinstance(problem, Problem):
            raise UserError(f"task={name}: problems() holds {type(problem).__name__}: return a list of Problem")
        if not isinstance(problem.id, str):
            raise UserError(f"task={name}: the id of a problem is {problem.id!r}: make it a string")
        if not problem.id:
            raise UserError(f"task={name}: the id of problem {number} is empty: give each an id of its own")
        if problem.id in seen:
            raise UserError(f"task={name}: two problems are called {problem.id}: give each an id of its own")
        seen.add(problem.id)
    with _running("task", name):
        prompt = task.prompt(Thought(found[0]), style)  # a task without prompts for this style says so
    if prompt is not None and not isinstance(prompt, Prompt):
        raise UserError(f"task={name}: prompt() returned {type(prompt).__name__}: return a Prompt or None")
    return found


def scorer_reference(name: str | None, task: Task) -> str:
    """A reference that `load` understands in any process, for a scorer's name, reference, or None (the task's own)."""
    name = name if name is not None else getattr(task, "scorer", None)
    if not isinstance(name, str):
        raise UserError(f'{_task_name(task)} names no scorer: write scorer = "NAME" in it, or choose with scorer=NAME')
    if is_file(name) or ":" in name:
        return absolute(name)
    known: list[str] = []
    for cls in type(task).__mro__:
        module = sys.modules[cls.__module__]
        scorers = getattr(module, "SCORERS", {})
        if name in scorers:
            return f"{_address(module)}:SCORERS.{name}"
        if callable(vars(module).get(name)) and not module.__name__.startswith("treereason."):
            return f"{_address(module)}:{name}"
        known.extend(scorers)
    raise UserError(f"scorer={name}: {_task_name(task)} has no such scorer; {nearest(name, known)}")


def scorer(name: str | None, task: Task) -> Scorer:
    """The scorer itself; UserError when it does not import or cannot be called."""
    reference = scorer_reference(name, task)
    try:
        found = load(reference)
    except UserError as error:
        raise UserError(f"scorer={name or task.scorer}: {error}") from None
    if not callable(found) or isinstance(found, type):
        raise UserError(f"scorer={reference}: is no function, but {type(found).__name__}")
    return cast(Scorer, found)


def load(reference: str) -> Any:
    """What `package.module:name` or `./file.py:name` refers to; a dotted name reaches into classes and dicts.

    A file is executed once in a process, however often it is referred to.
    """
    where, name = _split(reference)
    module = _module(where)
    if not name:
        raise UserError(f"say which name in {where}, as {where}:NAME; {nearest('', _public(module))}")
    found: Any = module
    for part in name.split("."):
        try:
            found = found[part] if isinstance(found, Mapping) else getattr(found, part)
        except (AttributeError, KeyError):
            raise UserError(f"{where} has no {name}; {nearest(name, _public(module))}") from None
    return found


def is_file(reference: str) -> bool:
    """Whether this is `./file.py` or `./file.py:name` rather than the name of something built in."""
    return _FILE.search(reference) is not None


def absolute(reference: str) -> str:
    """The same reference, meaning the same in a process that was started in another folder."""
    where, name = _split(reference)
    if not is_file(where):
        return reference
    path = str(Path(where).expanduser().resolve())
    return f"{path}:{name}" if name else path


def find(kind: Kind, name: str) -> type:
    """The class behind a name, or behind a user's `./file.py:Class` or `./file.py`."""
    if not is_file(name):
        if name not in BUILTIN[kind]:
            raise UserError(f"{kind}={name}: no such {kind}; {nearest(name, BUILTIN[kind])}")
        return cast(type, load(BUILTIN[kind][name]))
    where, attribute = _split(name)
    try:
        found = load(name) if attribute else _only_class(kind, where)
    except UserError as error:
        raise UserError(f"{kind}={name}: {error}") from None
    if not isinstance(found, type) or not all(hasattr(found, method) for method in METHODS[kind]):
        raise UserError(f"{kind}={name}: is no class with {' and '.join(METHODS[kind])}")
    own = set(vars(found).get("__annotations__", ())) - {"scorer"}
    if own and "__dataclass_fields__" not in vars(found):
        raise UserError(f"{kind}={name}: write @dataclass above the class, so that {min(own)} becomes a parameter")
    missing = [method for method in ("parse", "solved") if kind == "task" and not hasattr(found, method)]
    if missing:
        raise UserError(f"{kind}={name}: {found.__name__} has no {missing[0]}: a task needs it")
    if kind == "search" and not inspect.iscoroutinefunction(cast(type[Search], found).run):
        raise UserError(f"{kind}={name}: its run is no coroutine: write `async def run(self, tree)`")
    return found


def defaults(cls: type) -> dict[str, Any]:
    """Parameters of a plugin class with their defaults as plain values, `???` where a value must be given."""
    values: dict[str, Any] = {}
    for field in _fields(cls):
        if field.default is not dataclasses.MISSING:
            values[field.name] = jsonable(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            values[field.name] = jsonable(field.default_factory())
        else:
            values[field.name] = "???"
    return values


def _build(kind: Kind, params: Mapping[str, Any]) -> Any:
    name = params.get("name")
    if not isinstance(name, str):
        raise UserError(f"{kind}.name is missing: choose one with {kind}=NAME")
    cls = find(kind, name)
    values = {key: value for key, value in params.items() if key != "name"}
    names = [field.name for field in _fields(cls)]
    for key in values:
        if key not in names:
            raise UserError(f"{kind}.{key}: {name} has no such option; {nearest(key, names)}")
    if not dataclasses.is_dataclass(cls):
        with _running(kind, name):
            return cls()
    try:
        with _running(kind, name):
            built = TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        raise UserError(explain(error, f"{kind}.")) from None
    except PydanticUserError as error:
        if not is_file(name):
            raise
        raise UserError(f"{kind}={name}: its fields cannot be checked: {first_line(error)}") from None
    for key, value in values.items():
        # pydantic takes true for 1 when a number is asked for.
        if isinstance(value, bool) and not isinstance(getattr(built, key), bool):
            raise UserError(f"{kind}.{key}={str(value).lower()}: should not be true or false")
    return built


def _fields(cls: type) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(cls) if field.init] if dataclasses.is_dataclass(cls) else []


def _only_class(kind: Kind, where: str) -> type:
    module = _module(where)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and all(hasattr(value, method) for method in METHODS[kind])
    ]
    if len(classes) == 1:
        return classes[0]
    wanted = f"class with {' and '.join(METHODS[kind])}"
    if not classes:
        raise UserError(f"the file has no {wanted}")
    names = ", ".join(cls.__name__ for cls in classes)
    raise UserError(f"the file has more than one {wanted} ({names}): say which, as {where}:NAME")


def _split(reference: str) -> tuple[str, str]:
    if reference.endswith(".py"):
        return reference, ""
    where, _, name = reference.rpartition(":")
    return where, name


def _module(where: str) -> ModuleType:
    try:
        return _file_module(Path(where).expanduser().resolve()) if is_file(where) else importlib.import_module(where)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if where.startswith("treereason."):
            raise
        raise UserError(f"{where} does not import: {_reason(error, where)}") from error


def _file_module(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    name = f"{_FILE_MODULE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up here while it is being executed.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _running(kind: Kind, name: str) -> Iterator[None]:
    """What a user's own code raises, as a UserError; what a built-in raises is a bug, and shows its traceback."""
    try:
        yield
    except (UserError, ValidationError, PydanticUserError):
        raise
    except (Exception, SystemExit) as error:
        if not is_file(name):
            raise
        raise UserError(f"{kind}={name}: {_reason(error, _split(name)[0])}") from error


def _reason(error: BaseException, where: str) -> str:
    """The exception in one line, with the line of the user's file where it came up."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    for frame in traceback.extract_tb(error.__traceback__):
        if is_file(where) and Path(frame.filename) == Path(where).expanduser().resolve():
            line = frame.lineno
    text = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else first_line(error)}"
    return f"line {line}: {text}" if line is not None else text


def _address(module: ModuleType) -> str:
    if module.__name__.startswith(_FILE_MODULE):
        return str(module.__file__)
    return module.__name__


def _task_name(task: Task) -> str:
    return f"task {type(task).__name__}"


def _public(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
