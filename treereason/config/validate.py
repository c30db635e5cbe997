"""Tasks and searches built from the values of their options, and a task's problems: one clear line for each mistake."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from treereason.config.options import defaults
from treereason.config.registry import Kind, find
from treereason.config.schema import explain
from treereason.config.user_files import blaming, is_reference
from treereason.core import Problem, Prompt, Search, Task, Thought, UserError
from treereason.text import first_line, nearest


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


def _build(kind: Kind, params: Mapping[str, Any]) -> Any:
    name = params.get("name")
    if not isinstance(name, str):
        raise UserError(f"{kind}.name is missing: choose one with {kind}=NAME")
    cls = find(kind, name)
    values = {key: value for key, value in params.items() if key != "name"}
    with blaming(kind, name):
        names = list(defaults(cls))
    for key in values:
        if key not in names:
            raise UserError(f"{kind}.{key}: {name} has no such option; {nearest(key, names)}")
    try:
        with blaming(kind, name, ValidationError, PydanticUserError):
            built = TypeAdapter(cls).validate_python(values) if dataclasses.is_dataclass(cls) else cls()
    except ValidationError as error:
        raise UserError(explain(error, f"{kind}.")) from None
    except PydanticUserError as error:
        if not is_reference(name):
            raise
        raise UserError(f"{kind}={name}: its fields cannot be checked: {first_line(error)}") from None
    for key, value in values.items():
        # pydantic takes true for 1 when a number is asked for.
        if isinstance(value, bool) and not isinstance(getattr(built, key), bool):
            raise UserError(f"{kind}.{key}={str(value).lower()}: should not be true or false")
    return built
