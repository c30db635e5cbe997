"""Reads files that are named on stdin, one per line, with bounded memory; says on stdout what came of each.

A line is JSON: {what, path}, where what is "model", "run", "prompts", "configuration" or a task's name. An answer is
{outcome, text}: "read", "refused" (a UserError), or the exception's name.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from treereason.analysis.browser import Browser
from treereason.analysis.browser_frame import frame
from treereason.analysis.comparison import compare
from treereason.analysis.curve import curve, outcomes
from treereason.analysis.page import page
from treereason.analysis.recorded_run import read_run
from treereason.analysis.replay import replay
from treereason.cli import run
from treereason.cli.flags import parse_flags
from treereason.config.user_files import telling
from treereason.core import Thought, UserError
from treereason.engine.model.load import load_model
from treereason.tasks.choices import Choices
from treereason.tasks.crosswords import Crosswords
from treereason.tasks.document_merging import DocumentMerging
from treereason.tasks.few_shot import FewShot
from treereason.tasks.game_of_24 import GameOf24
from treereason.tasks.keyword_counting import KeywordCounting
from treereason.tasks.recorded import Recorded
from treereason.tasks.set_intersection import SetIntersection
from treereason.tasks.sorting import Sorting
from treereason.tasks.word_problems import WordProblems

MEMORY_BYTES = 3 * 1024**3
TASKS: dict[str, Any] = {
    "crosswords": Crosswords,
    "choices": Choices,
    "document_merging": DocumentMerging,
    "few_shot": FewShot,
    "game_of_24": GameOf24,
    "keyword_counting": KeywordCounting,
    "recorded": Recorded,
    "set_intersection": SetIntersection,
    "sorting": Sorting,
    "word_problems": WordProblems,
}


def read(what: str, path: str) -> None:
    if what == "model":
        load_model(path, style="embedded")
        return
    if what == "run":
        read_run_folder(Path(path))
        return
    if what == "configuration":
        run.run(parse_flags([f"--config-dir={path}", "+experiment=mine"]))
        return
    task = FewShot(prompts=path) if what == "prompts" else TASKS[what](path=path)
    for problem in task.problems(0)[:20]:
        task.prompt(Thought(problem), "plain")


def read_run_folder(path: Path) -> None:
    """What compare, show and report make of a folder."""
    recorded = read_run(path)
    page(compare([recorded], [None], ["run"]), [curve(outcomes(recorded, None))])
    browser = Browser(recorded)
    for key in ("*", "end", "enter"):
        browser.press(key)
        frame(browser, 80, 24)
    with telling():
        replayed = replay(recorded)
        compare([recorded], [replayed], ["run"])


def answer(what: str, path: str) -> dict[str, str]:
    try:
        read(what, path)
    except UserError as error:
        return {"outcome": "refused", "text": str(error)}
    except BaseException as error:
        return {"outcome": type(error).__name__, "text": str(error)[:1000]}
    return {"outcome": "read", "text": ""}


def main() -> None:
    run.hand_over = lambda flags, overrides: 0  # noqa: ARG005 - all is checked, nothing run
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
