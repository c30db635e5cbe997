"""Tasks and searches built from the values of their options, and a task's problems: one clear line for each mistake."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from treereason.config.models import model_class
from treereason.config.options import defaults, type_hints
from treereason.config.reading import check_reading
from treereason.config.registry import KINDS, Kind, find
from treereason.config.schema import Config, explain
from treereason.config.user_files import blaming
from treereason.core import Problem, Prompt, Search, Task, Thought, UserError
from treereason.text import first_line, from_home, nearest


def build_task(values: Mapping[str, Any]) -> Task:
    """The task that `values["name"]` names, built from the other values. Raises UserError."""
    return cast(Task, _build("task", values))


def build_search(values: Mapping[str, Any]) -> Search:
    """The search that `values["name"]` names, built from the other values. Raises UserError."""
    return cast(Search, _build("search", values))


def read_problems(task: Task, name: str, seed: int, style: str) -> Sequence[Problem]:
    """The task's problems. Raises UserError when the task called `name` cannot give them, or no prompt for the first.

    style: of the model that will answer; a task without prompts for it raises.
    """
    with blaming("task", name):
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
    with blaming("task", name):
        prompt = task.prompt(Thought(found[0]), style)
    if prompt is not None and not isinstance(prompt, Prompt):
        raise UserError(f"task={name}: prompt() returned {type(prompt).__name__}: return a Prompt or None")
    return found


def takes_text(values: Mapping[str, Any], option: str, value: object, text: str) -> bool:
    """Whether an option that refuses `value` takes `text`: its type is that of names, whatever they look like.

    values: the configuration, of which the names of task and search are read.
    """
    hint = _hint(values, option)
    if hint is None or not _fits(hint, text):
        return False
    # A decimal number is exact as text, and was rounded when hydra read it.
    return not _fits(hint, value) or isinstance(_checked(option, hint, text), Decimal | Fraction)


def _hint(values: Mapping[str, Any], option: str) -> Any:
    """The type of an option, None for one that is not known."""
    group, _, name = option.rpartition(".")
    try:
        chosen = values[group] if group else {}
        if group in KINDS:
            return type_hints(find(group, chosen["name"])).get(name)
        fields = model_class(chosen).model_fields if group == "model" else Config.model_fields
        if group and group != "model":
            fields = cast(type[BaseModel], fields[group].annotation).model_fields
        return fields[name].annotation
    except Exception:
        return None  # whatever is wrong with it is told where it is checked


def _fits(hint: Any, value: object) -> bool:
    try:
        TypeAdapter(hint).validate_python(value)
    except (ValidationError, PydanticUserError):
        return False
    return True


def _build(kind: Kind, params: Mapping[str, Any]) -> Any:
    name = params.get("name")
    if not isinstance(name, str):
        raise UserError(f"{kind}.name is missing: choose one with {kind}=NAME")
    cls = find(kind, name)
    values = {key: value for key, value in params.items() if key != "name"}
    with blaming(kind, name):
        standing = defaults(cls)
        hints = type_hints(cls)
    for key in values:
        if key not in standing:
            raise UserError(f"{kind}.{key}: {name} has no such option; {nearest(key, standing)}")
    # What was not changed is not passed on: the class's own default may be what no configuration can hold.
    given = {key: value for key, value in values.items() if not _same(value, standing[key])}
    for key, value in given.items():
        with blaming(kind, name, UserError):
            given[key] = _checked(f"{kind}.{key}", hints[key], value)
    try:
        with blaming(kind, name, ValidationError):
            return cls(**given)
    except ValidationError as error:  # of a class that pydantic made
        raise UserError(explain(error, kind)) from None


def _checked(option: str, hint: Any, value: object) -> Any:
    try:
        read = TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise UserError(explain(error, option)) from None
    except PydanticUserError as error:
        why = first_line(error).partition(". Set `")[0]  # what follows is advice on pydantic
        raise UserError(f"{option}: its type cannot be given as an option: {why}") from None
    check_reading(option, value, read)
    return Path(from_home(str(read))) if isinstance(read, Path) else read


def _same(value: object, standing: object) -> bool:
    """Whether two plain values are the same: 1, 1.0 and true are three."""
    try:
        return json.dumps(value, default=repr) == json.dumps(standing, default=repr)
    except (TypeError, ValueError):  # keys that are no text
        return False
