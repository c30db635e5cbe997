"""Malformed problem files and model folders: each is read or refused in one line, in time, in bounded memory."""

from __future__ import annotations

import json
import random
import re
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType

import pytest
import yaml

import treereason as tr
from tests.engine.model.gguf_writing import random_network, write_gguf
from tests.fakes import OWN_DATA, ROOT
from tests.files.mutations import odd_bytes, odd_gguf, odd_journal, odd_json, odd_lines, odd_thing, odd_weights
from treereason.engine.model.load import EMBEDDED

LIMIT_S = 30
LINES = b"".join(b'{"question": "%d+2", "answer": %d, "rationale": "=%d"}\n' % (i, i + 2, i + 2) for i in range(10))
PUZZLES = b"Rank,Puzzles,AMT (s)\n" + b"".join(b"%d,1 1 %d 6,4.4\n" % (i, i) for i in range(1, 10))
CROSSWORDS = json.dumps([[[f"clue {i}" for i in range(10)], list("HEARTEMBERABUSERESINTREND")]] * 3).encode()
SOLUTIONS = b'{"problem": "2+2", "solution": "It is $\\\\boxed{4}$."}\n' * 10
CHOICES = b'{"question": "2+2", "choices": {"text": ["4", "5"], "label": ["A", "B"]}, "answerKey": "A"}\n' * 10
PROBLEMS: dict[str, tuple[bytes, list[Callable[[bytes, random.Random], bytes]]]] = {
    "sorting": ((OWN_DATA / "graph-of-thoughts/sorting_032.csv").read_bytes(), [odd_bytes]),
    "document_merging": ((OWN_DATA / "graph-of-thoughts/documents.csv").read_bytes(), [odd_bytes]),
    "set_intersection": ((OWN_DATA / "graph-of-thoughts/set_intersection_032.csv").read_bytes(), [odd_bytes]),
    "keyword_counting": ((OWN_DATA / "graph-of-thoughts/countries.csv").read_bytes(), [odd_bytes]),
    "recorded": ((OWN_DATA / "deft/gardenToT.json").read_bytes(), [odd_bytes, odd_json, odd_json, odd_json]),
    "few_shot": (LINES, [odd_bytes, odd_lines, odd_lines]),
    "game_of_24": (PUZZLES, [odd_bytes]),
    "crosswords": (CROSSWORDS, [odd_bytes, odd_json, odd_json]),
    "word_problems": (SOLUTIONS, [odd_bytes, odd_lines, odd_lines]),
    "choices": (CHOICES, [odd_bytes, odd_lines, odd_lines]),
}
MODEL: dict[str, list[Callable[[bytes, random.Random], bytes]]] = {
    "config.json": [odd_bytes, odd_json, odd_json, odd_json],
    "generation_config.json": [odd_bytes, odd_json],
    "tokenizer.json": [odd_bytes, odd_json, odd_json],
    "tokenizer_config.json": [odd_bytes, odd_json],
    "model.safetensors": [odd_weights],
    "model.safetensors.index.json": [odd_bytes, odd_json],
}


CONFIGURATION = """\
# @package _global_
defaults:
  - override /task: sorting
  - override /search: tree_of_thoughts
task:
  length: 16
search:
  k: 3
scorer: exact_match
engine:
  kv_tokens: 4096
budget:
  tokens: 10000
"""
SLOWER = re.compile("a step takes longer: .*\n")
"""What is told of a model that loads, before its logits are looked at."""
OF_LINES = set(PROBLEMS) - {"recorded", "crosswords"}
"""Tasks of which a record is a line, so that a refusal tells its number."""
OPTION = r"[\w.]+(=|: )|[\w.]+ is missing|no option is called "
WHOLE_FILE = re.compile("no such file|cannot read|is empty|holds no|has no|leave no problem")


class Worker:
    """A process that reads files one after another; started anew after one on which it died or took too long."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.files.worker"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
            )
        self._answer(120)

    def ask(self, what: str, path: Path) -> dict[str, str]:
        assert self._process.stdin is not None
        before = self._log.stat().st_size
        print(json.dumps({"what": what, "path": str(path)}), file=self._process.stdin, flush=True)
        found = self._answer(LIMIT_S)
        if found["outcome"] in ("hangs", "dies"):
            self.end()
            self._start()
        elif self._log.stat().st_size > before:
            with self._log.open("rb") as log:
                log.seek(before)
                found["stderr"] = log.read(1000).decode(errors="replace")
        return found

    def _answer(self, limit_s: float) -> dict[str, str]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], limit_s)[0]:
            return {"outcome": "hangs", "text": ""}
        line = self._process.stdout.readline()
        answer: dict[str, str] = json.loads(line) if line else {"outcome": "dies", "text": ""}
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()


def problem_files(folder: Path, seed: int, number: int) -> Iterator[tuple[str, Path]]:
    for i in range(number):
        rng = random.Random(f"problems/{seed}/{i}")
        what = list(PROBLEMS)[i % len(PROBLEMS)]
        content, ways = PROBLEMS[what]
        path = folder / f"{what}_{i}"
        if rng.random() < 0.05:
            odd_thing(path, rng)
        else:
            path.write_bytes(rng.choice(ways)(content, rng))
        yield what, path


def model_folders(folder: Path, seed: int, number: int) -> Iterator[tuple[str, Path]]:
    index = json.dumps({"weight_map": {"model.norm.weight": "model.safetensors"}}).encode()
    for i in range(number):
        rng = random.Random(f"models/{seed}/{i}")
        name = list(MODEL)[i % len(MODEL)]
        here = folder / f"model_{i}"
        here.mkdir()
        for path in EMBEDDED.glob("*.json"):
            (here / path.name).write_bytes(path.read_bytes())
        (here / "model.safetensors").symlink_to(EMBEDDED / "model.safetensors")
        content = index if "index" in name else (EMBEDDED / name).read_bytes()
        path = here / name
        if rng.random() < 0.05:
            odd_thing(path, rng)
        else:
            path.unlink(missing_ok=True)
            path.write_bytes(rng.choice(MODEL[name])(content, rng))
        yield "model", here
        if not path.is_symlink() and path.is_file() and path.stat().st_size > 1_000_000:
            path.unlink()


def gguf_files(folder: Path, seed: int, number: int) -> Iterator[tuple[str, Path]]:
    good = folder / "good.gguf"
    write_gguf(good, "llama", random_network("llama"))
    content = good.read_bytes()
    head = content.index(b"output.weight") + 100
    for i in range(number):
        rng = random.Random(f"gguf/{seed}/{i}")
        path = folder / f"model_{i}.gguf"
        if rng.random() < 0.05:
            odd_thing(path, rng)
        else:
            path.write_bytes(odd_gguf(content, head, rng))
        yield "model", path


def run_folders(folder: Path, seed: int, number: int) -> Iterator[tuple[str, Path]]:
    good = folder / "good"
    task = tr.tasks.FewShot(operations=2, limit=3, stepwise=True)
    tr.run(task, tr.search.TreeOfThoughts(k=2, b=1, steps=4), tr.load("embedded"), folder=good, threads=1)
    content = (good / "journal.sqlite").read_bytes()
    for i in range(number):
        rng = random.Random(f"runs/{seed}/{i}")
        here = folder / f"run_{i}"
        here.mkdir()
        path = here / "journal.sqlite"
        path.write_bytes(content)
        (odd_thing if rng.random() < 0.05 else odd_journal)(path, rng)
        yield "run", here


def prompt_files(folder: Path, seed: int, number: int) -> Iterator[tuple[str, Path]]:
    content = (ROOT / "tasks/prompts/few_shot.yaml").read_bytes()
    for i in range(number):
        rng = random.Random(f"prompts/{seed}/{i}")
        path = folder / f"prompts_{i}.yaml"
        if rng.random() < 0.05:
            odd_thing(path, rng)
        elif rng.random() < 0.5:
            path.write_bytes(odd_bytes(content, rng))
        else:
            path.write_bytes(odd_json(json.dumps(yaml.safe_load(content)).encode(), rng))  # YAML holds JSON
        yield "prompts", path


def configurations(folder: Path, seed: int, number: int) -> Iterator[tuple[str, Path]]:
    for i in range(number):
        rng = random.Random(f"configurations/{seed}/{i}")
        path = folder / f"more_{i}" / "experiment" / "mine.yaml"
        path.parent.mkdir(parents=True)
        if rng.random() < 0.05:
            odd_thing(path, rng)
        elif rng.random() < 0.5:
            path.write_bytes(odd_bytes(CONFIGURATION.encode(), rng))
        else:
            values = odd_json(json.dumps(yaml.safe_load(CONFIGURATION)).encode(), rng)
            path.write_bytes(b"# @package _global_\n" + values)  # YAML holds JSON
        yield "configuration", folder / f"more_{i}"


def is_placed(what: str, path: Path, text: str) -> bool:
    """Whether a refusal tells where it is: the file, and its line where records are lines; an option has its name."""
    if what == "configuration":
        return "mine.yaml" in text or bool(re.match(OPTION, text))
    line = what not in OF_LINES or re.search(rf"{path.name}:\d+: ", text) or WHOLE_FILE.search(text)
    return path.name in text and bool(line)


def check(files: Iterator[tuple[str, Path]], log: Path) -> Counter[str]:
    """Each file is read, or refused in one short line that names it; libraries may warn of what is read."""
    outcomes: Counter[str] = Counter()
    bad = []
    with Worker(log) as worker:
        for what, path in files:
            found = worker.ask(what, path)
            outcomes[found["outcome"]] += 1
            text, printed = found["text"], SLOWER.sub("", found.get("stderr", ""))
            one_line = "\n" not in text and len(text) <= 2500
            quiet = not printed or (found["outcome"] == "read" and not re.search("Traceback|panicked", printed))
            placed = found["outcome"] != "refused" or is_placed(what, path, text)
            if found["outcome"] not in ("read", "refused") or not (one_line and quiet and placed):
                bad.append((what, path.name, found))
    assert bad == [], f"{len(bad)} of {outcomes.total()}: {bad}"[:5000]
    return outcomes


KINDS = {
    "problem files": problem_files,
    "models": model_folders,
    "GGUF files": gguf_files,
    "run folders": run_folders,
    "prompts": prompt_files,
    "configurations": configurations,
}


def test_malformed_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    files = []
    for kind, made in KINDS.items():
        folder = tmp_path / kind
        folder.mkdir()
        files.append(made(folder, 0, 2 * len(PROBLEMS) if made is problem_files else 12))
    outcomes = check(chain(*files), tmp_path / "log")
    assert outcomes["refused"] > outcomes.total() / 3
    assert outcomes["read"] > outcomes.total() / 8  # some are still what was asked for


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_hundreds_of_each_kind(kind: str, tmp_path: Path) -> None:
    outcomes = check(KINDS[kind](tmp_path, 0, 1200 if kind == "problem files" else 500), tmp_path / "log")
    assert outcomes["refused"] > outcomes.total() / 4
    assert outcomes["read"] > 0
