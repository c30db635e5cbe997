"""Tasks and searches that were made in Python: checked like those that a configuration names."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from treereason.config.plugins import METHODS
from treereason.config.registry import Kind
from treereason.config.schema import explain
from treereason.core import Search, Task, UserError
from treereason.jsonable import jsonable
from treereason.text import shown


def options_of(kind: Kind, plugin: Task | Search) -> dict[str, Any]:
    """Name and options of a task or search, as a configuration holds them. Raises UserError for one that cannot run.

    The name is that of the built-in file or, of a user's own class, the name of the class. A dataclass does not check
    what it is made of, so the rules of its fields are checked here.
    """
    if isinstance(plugin, type):
        raise UserError(f"{kind}={plugin.__name__}: this is the class; make one: {plugin.__name__}()")
    missing = [method for method in METHODS[kind] if not hasattr(plugin, method)]
    if missing:
        raise UserError(f"{kind}={shown(plugin)}: not a {kind}, because it has no method {missing[0]}")
    cls = type(plugin)
    values: dict[str, Any] = {}
    if dataclasses.is_dataclass(plugin):
        values = {field.name: getattr(plugin, field.name) for field in dataclasses.fields(plugin) if field.init}
        hints = get_type_hints(cls, include_extras=True)
        for name, value in values.items():
            _check(f"{kind}.{name}", hints[name], value)
            values[name] = jsonable(value)
    built_in = cls.__module__.startswith("treereason.")
    return {"name": cls.__module__.rpartition(".")[2] if built_in else cls.__name__, **values}


def _check(option: str, hint: Any, value: object) -> None:
    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        raise UserError(explain(error, option)) from None
    except PydanticUserError:
        return  # a type that no configuration could hold, and that only the class itself can judge
