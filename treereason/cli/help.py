"""The text of `treereason --help`. Options and their meanings are read from the classes that check them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from typing import Any

from omegaconf import OmegaConf

from treereason.cli import values
from treereason.cli.choices import import_named
from treereason.config.models import model_class
from treereason.config.options import Option, options
from treereason.config.plugins import plugins
from treereason.config.registry import KINDS, Kind, builtin, find
from treereason.config.schema import Config
from treereason.config.scorers import builtin as builtin_scorers
from treereason.config.scorers import task_scorers
from treereason.config.user_files import is_reference
from treereason.core import Scorer, basis_of

WIDTH = 100
_MEANINGS_AT = 36

_HEAD = """\
treereason runs tree search over language models: tree of thoughts, self-consistency, best of n, or
a search of your own. It is for researchers who compare searches or write new ones. Tokens that
several branches share are computed, stored and read once. A small model is included, so this works
at once:

  treereason                     sort generated lists with tree of thoughts
  treereason task=few_shot search=self_consistency search.n=15 temperature=0.7
  treereason task=sorting task.path=FILE.csv task.limit=20 search=tree_of_thoughts search.k=5
  treereason model=transformers model.name=PATH_OR_HUB_ID task=few_shot search=best_of_n
  treereason task=./mine.py:MyTask search=./mine.py:MySearch scorer=./mine.py:my_scorer

Usage: treereason [OPTION=VALUE] ...                     one run
       treereason -m search.k=3,5 seed=0,1,2             one run for each combination
       treereason +experiment=NAME [OPTION=VALUE] ...    with options from conf/experiment/NAME.yaml
       treereason --cfg job [OPTION=VALUE] ...           show the configuration, run nothing
       treereason task=./mine.py:MyTask --help           this help, with your own options
       treereason list [searches|NAME] [--json]          what can be chosen, plug-ins included
       treereason compare RUN...                         runs side by side, paired by problem
       treereason show RUN [PROBLEM]                     the thoughts of a run, in the terminal
       treereason report RUN...                          one HTML page of runs, for any browser
       treereason rescore RUN scorer=NAME                a run by another scorer, without a model
       treereason reselect RUN vote=VOTE n=N             a run with another vote, or fewer samples
       treereason export RUN --inspect FILE.json         for inspect_ai, or --tensorboard FOLDER

A run leaves results.jsonl (one line for each problem), summary.json (the figures), journal.sqlite
(every event), scorer.log (what a scorer prints) and .hydra/ (the configuration) in
runs/<date>_<time>_<random>. Choose another folder with hydra.run.dir=FOLDER, or with
-m hydra.sweep.dir=FOLDER.
"""

_TAIL = """\
Other flags: --version, --config-dir FOLDER (more configuration files), --hydra-help, --info.
Tab completion in bash: eval "$(treereason --shell-completion install=bash)"
Exit codes: 0 done, 1 a bug in treereason, 2 a mistake in the input, 3 every problem failed,
130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""


def help_text(arguments: Sequence[str] = ()) -> str:
    """The whole help, with the options of the users' classes among the arguments. Raises UserError for those."""
    import_named(arguments)
    lines = [_HEAD]
    for kind in KINDS:
        brought = {one.name: one.package for one in plugins(kind) if one.name not in builtin(kind)}
        own = [name for name in _values(kind, arguments) if is_reference(name) or name in brought]
        lines.append(f"{kind}=NAME, or a class of your own: {kind}=./FILE.py:CLASS, {kind}=package.module:CLASS")
        for name in [*own, *choices(kind)]:
            lines.extend(_choice(f"{kind}={name}", summary(find(kind, name)), class_options(kind, name)))
        for name in brought.keys() - own:
            lines.extend(_columns(f"  {kind}={name}", f"of {brought[name]}: add --help to it for its options"))
        lines.append("")
    lines.append(f"model={'|'.join(choices('model'))}")
    for name in choices("model"):
        lines.extend(_choice(f"model={name}", "", model_options(name)))
    lines.extend(["", "Options of every run", *_option_lines(run_options(), indent=2)])
    lines.extend(["", *_scorers()])
    lines.extend(["", *_columns("+experiment=NAME", ", ".join(files("experiment"))), "", _TAIL])
    return "\n".join(lines)


def _scorers() -> Iterator[str]:
    """The built-in scorers, those of every task first, each with what its verdicts rest on."""
    yield "scorer=NAME, or one of your own: scorer=./FILE.py:NAME, scorer=package.module:NAME"
    for name, scorer in builtin_scorers().items():
        yield from _columns(f"  scorer={name}", f"{basis_of(scorer)}: {summary(scorer)}")
    for task in choices("task"):
        for name, scorer in task_scorers(find("task", task)).items():
            yield from _columns(f"  scorer={name}", f"{basis_of(scorer)}, task={task}: {summary(scorer)}")


def choices(group: str) -> list[str]:
    """The choices for the task, search or model, the default first."""
    names = next((list(builtin(kind)) for kind in KINDS if kind == group), None) or files(group)
    chosen = [entry for entry in _conf("config")["defaults"] if isinstance(entry, dict)]
    default = next(entry[group] for entry in chosen if group in entry)
    return sorted(names, key=lambda name: name != default)


def run_options() -> list[Option]:
    """The options that no task, search or model has for itself."""
    return [option for option in options(Config) if option.name not in (*KINDS, "model")]


def model_options(name: str) -> list[Option]:
    """The options of a model file: its values, described where they are checked."""
    conf = _conf(f"model/{name}")
    meanings = {option.name: option.description for option in options(model_class(conf))}
    return [Option(f"model.{key}", value, meanings[key]) for key, value in conf.items()]


def model_summary(name: str) -> str:
    """What the first line of a model's file says."""
    return _text(f"model/{name}").partition("\n")[0].removeprefix("# ")


def class_options(kind: Kind, name: str) -> list[Option]:
    """The options of a task or search, as they are typed. Raises UserError."""
    return [option._replace(name=f"{kind}.{option.name}") for option in options(find(kind, name))]


def _values(kind: Kind, arguments: Sequence[str]) -> list[str]:
    """What the arguments choose, several in a sweep."""
    chosen = [argument for argument in arguments if argument.startswith(f"{kind}=")]
    return [value for argument in chosen for value in values.texts(values.parse(argument))]


def summary(cls: Scorer) -> str:
    """The first paragraph of the class's docstring; `@dataclass` writes a signature where there is none."""
    text = cls.__doc__ or ""
    return "" if text.startswith(f"{cls.__name__}(") else " ".join(text.strip().split("\n\n")[0].split())


def _choice(title: str, summary: str, listed: Sequence[Option]) -> Iterator[str]:
    summary = summary if listed else f"{summary} (no options)".strip()
    yield from _columns(f"  {title}", summary)
    yield from _option_lines(listed, indent=4)


def _option_lines(listed: Iterable[Option], indent: int) -> Iterator[str]:
    for option in listed:
        yield from _columns(f"{' ' * indent}{typed_option(option)}", option.description)


def _columns(left: str, right: str) -> Iterator[str]:
    """`right` in a column of its own; it begins on the next line where `left` is too long."""
    wrapped = textwrap.wrap(right, WIDTH - _MEANINGS_AT)
    if not wrapped or len(left) > _MEANINGS_AT - 2:
        yield left
    else:
        yield f"{left:{_MEANINGS_AT}}{wrapped.pop(0)}"
    yield from (" " * _MEANINGS_AT + line for line in wrapped)


def typed_option(option: Option) -> str:
    """An option with its default, as it is typed."""
    return f"{option.name}={_typed(option.default)}"


def _typed(value: Any) -> str:
    """A default as it is typed behind an option."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def files(group: str) -> list[str]:
    """The choices of a group that has files in conf/; those in a folder are called folder/name."""
    found = []
    for entry in (resources.files("treereason.conf") / group).iterdir():
        if entry.is_dir():
            found += [f"{entry.name}/{name}" for name in files(f"{group}/{entry.name}")]
        elif entry.name.endswith(".yaml"):
            found.append(entry.name.removesuffix(".yaml"))
    return sorted(found)


def _conf(file: str) -> Any:
    return OmegaConf.to_container(OmegaConf.create(_text(file)))


def _text(file: str) -> str:
    return (resources.files("treereason.conf") / f"{file}.yaml").read_text(encoding="utf-8")
