"""The text of `treereason --help`, made from the configuration files and the comments behind their options."""

from __future__ import annotations

import re
from importlib import resources
from typing import NamedTuple

GROUPS = ("task", "search", "model")

_LINE = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?: +(?P<value>[^\s#][^#]*?))?(?: +# *(?P<comment>.*))?$")

_HEAD = """\
treereason: tree search over language models, on a token forest where each shared token is computed, stored and read
once. Without a word more it solves generated sorting problems with tree of thoughts on the model it brings along.

Usage: treereason [GROUP=CHOICE] [OPTION=VALUE] ...       one run
       treereason -m OPTION=VALUE,VALUE ...               one run for every combination
       treereason --cfg job [OPTION=VALUE] ...            show the configuration, run nothing

Examples:
  treereason task=sorting task.limit=20 search=tree_of_thoughts search.k=5 search.b=1
  treereason task=few_shot search=self_consistency search.n=15 temperature=0.7
  treereason task=document_merging search=best_of_n search.n=5 hydra.run.dir=runs/merging
  treereason task=./mine.py:MyTask scorer=./mine.py:my_scorer
  treereason model=transformers model.name=PATH_OR_HUB_ID task=sorting task.path=FILE.csv
  treereason model=openai model.name=NAME model.url=http://127.0.0.1:8000/v1 task=few_shot search=self_consistency
  treereason -m search=tree_of_thoughts,self_consistency,best_of_n seed=0,1,2
"""

_TAIL = """\
Results land in runs/<date>_<time>_<random>, or in hydra.run.dir=FOLDER (with -m: hydra.sweep.dir=FOLDER, a numbered
folder for each run): results.jsonl with one line a problem, summary.json with the figures, journal of every event,
and .hydra/ with the configuration. Exit code: 0 done, 1 a fault of ours, 2 a mistake in what was given, 130 Ctrl-C.

Other flags: --version, --config-dir FOLDER (more configuration files), --hydra-help, --info, --shell-completion.
"""


class Option(NamedTuple):
    """One option: dotted key, default as written in the file, and what it means."""

    key: str
    default: str
    meaning: str


def text() -> str:
    """The whole help."""
    parts = [_HEAD]
    for group in GROUPS:
        parts.append(f"{group}={'|'.join(choices(group))}" + _file_form(group))
        for choice in choices(group):
            listed = [option for option in options(f"{group}/{choice}", group) if option.key != f"{group}.name"]
            if group == "model":
                listed = options(f"{group}/{choice}", group)
            parts.append(f"  {group}={choice}" + ("" if listed else "  (no options)"))
            parts.extend(_lines(listed, 4))
        parts.append("")
    parts.append("Options of every run:")
    parts.extend(_lines(options("config", ""), 2))
    parts.extend(["", _TAIL])
    return "\n".join(parts)


def choices(group: str) -> list[str]:
    """The files of a configuration group, the default first."""
    names = sorted(
        entry.name.removesuffix(".yaml")
        for entry in (resources.files("treereason.conf") / group).iterdir()
        if entry.name.endswith(".yaml")
    )
    default = re.search(rf"^ *- {group}: (\w+)$", _read("config"), re.MULTILINE)
    return sorted(names, key=lambda name: default is None or name != default[1])


def options(file: str, prefix: str) -> list[Option]:
    """The options that a configuration file sets, in its order; hydra's own are left out."""
    found = []
    path: list[str] = [prefix] if prefix else []
    base = len(path)
    for line in _read(file).splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        path = path[: base + len(match["indent"]) // 2]
        if match["value"] is None:
            path.append(match["key"])
        elif path[:1] != ["hydra"]:
            found.append(Option(".".join([*path, match["key"]]), match["value"], match["comment"] or ""))
    return found


def _lines(listed: list[Option], indent: int) -> list[str]:
    return [f"{' ' * indent}{f'{key}={default}':<{32 - indent}}  {meaning}" for key, default, meaning in listed]


def _file_form(group: str) -> str:
    return "" if group == "model" else f"|./FILE.py[:CLASS]   (your own class: {group}.FIELD=VALUE)"


def _read(file: str) -> str:
    return (resources.files("treereason.conf") / f"{file}.yaml").read_text(encoding="utf-8")
