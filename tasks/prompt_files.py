"""Prompts as data: templates with {placeholders}, by style of model and name, from YAML files."""

from __future__ import annotations

import string
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from treereason.core import UserError
from treereason.core.given_file import MIB, file_name, read_bytes
from treereason.core.prompt import Style
from treereason.text import nearest, one_line, shown

_FOLDER = Path(__file__).parent / "prompts"


@dataclass(frozen=True)
class Template:
    """A prompt as data: `text`, `system` and `turns` have {placeholders}; `shared` goes before `text` unchanged.

    stop, system, turns: as in core.Prompt. Only problems for which system and turns are filled alike share the KV of
    `shared`, as these come first. examples: what fills the placeholders of `text`, and what is answered then: each
    becomes one more turn that asks as the prompt does. choices: texts that may follow; the likeliest one is chosen.
    Raises ValueError for an example that does not fill `text`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    text: str
    shared: str = ""
    stop: tuple[str, ...] = ()
    system: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    examples: tuple[tuple[Mapping[str, str], str], ...] = ()
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for values, _ in self.examples:
            if (names := set(_placeholders(self.text))) != set(values):
                wanted = " ".join(sorted(names)) or "nothing"
                raise ValueError(f"an example fills {' '.join(sorted(values)) or 'nothing'}, the text needs {wanted}")

    def filled_turns(self, values: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
        """The turns filled with `values`, and those that the examples make."""
        turns = tuple((user.format(**values), model.format(**values)) for user, model in self.turns)
        return turns + tuple((self.shared + self.text.format(**given), reply) for given, reply in self.examples)


Templates = Mapping[str, Mapping[str, Template]]
"""Style of the model (`Style`) -> name of the prompt ("solve", "improve") -> template."""

_FORM = TypeAdapter(dict[str, dict[str, Template]])


def builtin_templates(name: str) -> Templates:
    """The prompts of a built-in task, by its file's name."""
    return _parsed(_FOLDER / f"{name}.yaml")


def replaced(templates: Templates, path: Path) -> Templates:
    """`templates` with those of a user's file in place of their namesakes. Raises UserError.

    The file has their form. It may add a style for which the task has none, but no names and placeholders that the task
    does not fill.
    """
    where = file_name(path)
    given = _parsed(path)
    known: dict[str, set[str]] = {}
    for named in templates.values():
        for name, template in named.items():
            known.setdefault(name, set()).update(*(_placeholders(text) for _, text in _filled(template)))
    styles = {*get_args(Style), *templates}
    for style, named in given.items():
        if style not in styles:
            raise UserError(f"{where}: {style}: no such style of prompts; {nearest(style, sorted(styles))}")
        for name, template in named.items():
            if name not in known:
                raise UserError(f"{where}: {style}.{name}: no such prompt of this task; {nearest(name, known)}")
            for part, text in _filled(template):
                place = f"{where}: {style}.{name}.{part}"
                try:
                    unknown = sorted(set(_placeholders(text)) - known[name])
                except ValueError as error:
                    raise UserError(f"{place}: {one_line(error)}; write {{{{ for a brace that is none") from None
                if unknown:
                    shown_as, valid = f"{{{unknown[0]}}}", " ".join(f"{{{each}}}" for each in sorted(known[name]))
                    raise UserError(f"{place}: nothing is called {shown_as}; there is {valid}")
    return {style: {**templates.get(style, {}), **given.get(style, {})} for style in {**templates, **given}}


def _filled(template: Template) -> list[tuple[str, str]]:
    """The texts with placeholders, and where they stand."""
    turns = [("turns", text) for turn in template.turns for text in turn]
    return [("text", template.text), ("system", template.system), *turns]


def _placeholders(text: str) -> Iterator[str]:
    """Raises ValueError for braces that do not pair, and for what is more than a name."""
    for _, name, form, conversion in string.Formatter().parse(text):
        if name is None:
            continue
        if not name.isidentifier() or form or conversion:
            raise ValueError(f"{{{name}}} is not the name of a placeholder")
        yield name


def _parsed(path: Path) -> Templates:
    where = file_name(path)
    try:
        value = yaml.load(read_bytes(path, MIB).decode("utf-8-sig"), _Loader)
        return _FORM.validate_python(value)
    except UserError:
        raise
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{where}: {place}: {first['msg']}, not {shown(first['input'])}") from None
    except RecursionError:
        raise UserError(f"{where}: not prompts: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{where}: not YAML: {one_line(error)}") from None


class _Loader(yaml.SafeLoader):
    """Without aliases, which can make a small file enormous, and without keys that occur twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValueError(f"line {self.peek_event().start_mark.line + 1}: prompts have no aliases")  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := next((key for i, key in enumerate(keys) if key in keys[:i]), None):
            raise ValueError(f"line {node.start_mark.line + 1}: the key {shown(twice)} occurs twice")
        return super().construct_mapping(node, deep)
