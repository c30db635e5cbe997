"""The displays, fed with a scripted stream of events that looks like a run."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import random
import re
import time
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from treereason.display import display, figures, picture, report, view
from treereason.display.clean import one_line
from treereason.display.jsonlines import JsonDisplay
from treereason.display.live import RichDisplay
from treereason.display.plain import PlainDisplay
from treereason.display.state import DWELL, RunState
from treereason.display.stopping import NOTE
from treereason.display.thoughts import ShownProblem
from treereason.display.viewport import choose
from treereason.events import (
    Event,
    ProblemDone,
    ProblemStarted,
    RunDone,
    RunStarted,
    StepDone,
    ThoughtCreated,
    ThoughtDecoded,
    ThoughtFailed,
    ThoughtKept,
    ThoughtPath,
    ThoughtPruned,
    ThoughtScored,
)

STATES = {"step", "num_branches", "num_waiting", "kv_tokens_used", "kv_tokens_peak", "kv_tokens_capacity", "launch"}
COUNTS = [field.name for field in dataclasses.fields(StepDone) if field.name not in STATES]
HOSTILE = "\x1b[2J\x1b]0;owned\x07 [red]not markup[/] [/] \u202egnihtyreve\u2066 \x9b31m a\nb\tc 漢字 👩‍👩‍👧 \ud800"


class Script:
    """A plausible run: `problems` in flight at once, a tree of thoughts with k children and b kept each."""

    def __init__(self, problems: int = 6, steps: int = 4, k: int = 5, b: int = 1, seed: int = 0) -> None:
        self.problems, self.steps, self.k, self.b = problems, steps, k, b
        self.rng = random.Random(seed)
        self.num_steps = 0

    def run(self) -> Iterator[Event]:
        yield run_started(self.problems)
        searches = []
        for i in range(self.problems):
            problem = f"sum-{i:03}"
            yield ProblemStarted(problem, " + ".join(str(self.rng.randint(10, 99)) for _ in range(6)))
            searches.append(self.search(problem))
        while searches:
            for search in searches[:8]:
                for _ in range(self.rng.randint(1, 4)):
                    event = next(search, None)
                    if event is None:
                        searches.remove(search)
                        break
                    yield event
            yield self.step(8 * len(searches))

    def search(self, problem: str) -> Iterator[Event]:
        frontier: list[ThoughtPath] = [()]
        total = 0
        for depth in range(self.steps):
            children = [(*path, rank) for path in frontier for rank in range(self.k)]
            scores: dict[ThoughtPath, float] = {}
            for child in children:
                yield ThoughtCreated(problem, child, (child[:-1],))
            total += self.rng.randint(10, 99)
            for child in self.rng.sample(children, len(children)):
                if self.rng.random() < 0.06:
                    yield ThoughtFailed(problem, child, "the scorer gave no verdict within 5 s")
                    continue
                guess = total + self.rng.choice([0, 0, 0, 10, -1])
                text = f" carry {guess % 10}, the sum of the first {depth + 2} numbers is {guess}\n"
                yield ThoughtDecoded(problem, child, text, guess, -3.5, 12, 20, 96)
                scores[child] = round(self.rng.random(), 2)
                yield ThoughtScored(problem, child, scores[child], False)
            kept = sorted(scores, key=lambda path: -scores[path])[: self.b]
            for child in scores:
                yield ThoughtKept(problem, child) if child in kept else ThoughtPruned(problem, child)
            frontier = kept or frontier
        score = scores.get(frontier[0])
        solved = score is not None and score > 0.7
        yield problem_done(problem, score=score, solved=solved, answer=total, best=frontier[0])

    def step(self, branches: int) -> StepDone:
        self.num_steps += 1
        used = 2000 + 90 * branches + 50 * (self.num_steps % 40)
        return StepDone(
            self.num_steps, branches, 4, 30, branches, used, max(used, 40_000), 65_536, used, used * 6, 0.02
        )


def run_started(problems: int, pass_name: str = "search") -> RunStarted:
    return RunStarted("arithmetic", "tree_of_thoughts", "embedded", "checked_sum", 7, problems, pass_name)


def problem_done(problem: str, **changes: Any) -> ProblemDone:
    fields: dict[str, Any] = {
        "status": "done",
        "solved": True,
        "score": 0.9,
        "answer": 42,
        "best": None,
        "error": None,
        "tokens_decoded": 400,
        "tokens_prefilled": 120,
        "tokens_reused": 960,
        "kv_tokens_peak": 500,
        "single_sample_scores": (0.2, 0.6),
    }
    return ProblemDone(problem, **{**fields, **changes})


def run_done(status: str = "done", **changes: Any) -> RunDone:
    summary: dict[str, Any] = {
        "task": "arithmetic",
        "search": "tree_of_thoughts",
        "model": "embedded",
        "seed": 7,
        "problems": 100,
        "problems_done": 100,
        "solved": 83,
        "failed": 2,
        "mean_score": 0.874,
        "single_sample_solved": 41.2,
        "single_sample_mean_score": 0.412,
        "greedy_solved": 51,
        "greedy_mean_score": 0.53,
        "tokens_decoded": 98_304,
        "tokens_prefilled": 20_480,
        "tokens_reused": 1_250_000,
        "kv_tokens_peak": 30_720,
        "kv_read_ratio": 15.3,
        "seconds": 102.4,
        "tokens_per_second": 960.0,
    }
    return RunDone(status, {**summary, **changes}, "outputs/2026-11-21/10-00-00-a1b2")


def terminal(width: int = 100, height: int = 30) -> tuple[Console, StringIO]:
    file = StringIO()
    return Console(width=width, height=height, force_terminal=True, color_system=None, file=file), file


def pipe() -> tuple[Console, StringIO]:
    file = StringIO()
    return Console(width=100, force_terminal=False, color_system=None, file=file), file


def timed(events: Iterable[Event]) -> list[tuple[float, Event]]:
    return [(0.05 * i, event) for i, event in enumerate(events)]


def replayed(events: Iterable[Event]) -> RunState:
    state = RunState()
    for now, event in timed(events):
        if isinstance(event, RunStarted):
            state = RunState.begin(event, now)
        else:
            state.apply(event, now)
    return state


def drawn(events: Iterable[Event], width: int = 100, height: int = 30) -> list[str]:
    """The lines of a live frame after the events, of which there are twenty a second."""
    events = list(events)
    state, now = replayed(events), 0.05 * len(events)
    console, file = terminal(width, height)
    snapshot = state.snapshot(now, view.tree_height(height), view.max_depth(width))
    console.print(view.frame(snapshot, width, height))
    return file.getvalue().splitlines()


def half_way(script: Script) -> list[Event]:
    events = list(script.run())
    return events[: len(events) // 2]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_live_frame(size: tuple[int, int], snapshot: SnapshotAssertion) -> None:
    assert "\n".join(drawn(half_way(Script(problems=16)), *size)) == snapshot


PATHS = st.lists(st.integers(0, 3), max_size=4).map(tuple)
THOUGHT_EVENTS = st.one_of(
    st.builds(ThoughtCreated, st.just("p"), PATHS, st.lists(PATHS, max_size=2).map(tuple), st.booleans()),
    st.builds(ThoughtDecoded, st.just("p"), PATHS, st.text(), st.none(), *[st.just(1)] * 4),
    st.builds(ThoughtScored, st.just("p"), PATHS, st.floats(), st.booleans()),
    st.builds(ThoughtKept, st.just("p"), PATHS),
    st.builds(ThoughtPruned, st.sampled_from(["p", "unknown"]), PATHS),
    st.builds(ThoughtFailed, st.just("p"), PATHS, st.text()),
    st.builds(problem_done, st.just("p"), best=st.none() | PATHS, score=st.none() | st.floats()),
)


@settings(deadline=None)
@given(st.lists(THOUGHT_EVENTS, max_size=40), st.integers(1, 90), st.integers(1, 30))
def test_no_order_of_events_breaks_a_frame(events: list[Event], width: int, height: int) -> None:
    lines = drawn([run_started(2), ProblemStarted("p", "?"), *events], width, height)
    assert len(lines) <= max(1, height - 1)
    assert all(cell_len(line) <= width for line in lines)


def test_final_panel(snapshot: SnapshotAssertion) -> None:
    console, file = terminal(80, 24)
    console.print(report.panel(run_done(), 80))
    assert file.getvalue() == snapshot
    assert len(file.getvalue().splitlines()) < 24


def test_a_narrow_terminal_shows_the_tree_and_the_kv_in_use() -> None:
    text = "\n".join(drawn(half_way(Script()), 40, 24))
    assert "─ problem sum-" in text
    assert " ├─" in text
    assert re.search(r"KV cache +\d[\d,]* of ", text)


@pytest.mark.parametrize("width", [1, 20, 23, 24, 44, 60, 80, 200])
@pytest.mark.parametrize("height", [1, 5, 10, 12, 24, 60])
def test_a_frame_fits_every_terminal(width: int, height: int) -> None:
    for events in (half_way(Script(k=12, b=4)), [run_started(3)], []):
        lines = drawn(events, width, height)
        assert len(lines) <= max(1, height - 1)
        assert all(cell_len(line) <= width for line in lines)


def large_tree(thoughts: int) -> ShownProblem:
    rng = random.Random(1)
    tree = ShownProblem.start("large", "a long search")
    paths: list[ThoughtPath] = [()]
    for _ in range(thoughts):
        parent = rng.choice(paths[-200:])
        path = (*parent, len(tree.nodes[parent].children))
        tree.apply(ThoughtCreated("large", path, (parent,)))
        if rng.random() < 0.9:
            paths.append(path)
            tree.apply(ThoughtDecoded("large", path, f"thought {path}", None, 0.0, 0, 0, 0))
            tree.apply(ThoughtScored("large", path, rng.random(), False))
            tree.apply(rng.choice([ThoughtKept, ThoughtPruned])("large", path))
    return tree


@pytest.mark.parametrize("height", [3, 10, 30])
def test_five_thousand_thoughts_cost_no_more_rows_than_the_viewport_has(height: int) -> None:
    tree = large_tree(5000)
    port = choose(tree, height)
    assert port.height <= height
    assert len(port.rows) >= height - 2
    assert sum(row.together for row in port.rows) + port.above + port.more == 5001
    assert sum(row.is_best for row in port.rows) == 1


def test_a_small_tree_is_shown_whole_and_in_order() -> None:
    tree = ShownProblem.start("p", [3, 1, 2])
    for path in [(0,), (1,), (1, 0), (2,)]:
        tree.apply(ThoughtCreated("p", path, (path[:-1],)))
        tree.apply(ThoughtDecoded("p", path, str(path), None, 0.0, 0, 0, 0))
    tree.apply(ThoughtKept("p", (1,)))
    tree.apply(ThoughtKept("p", (1, 0)))
    tree.apply(ThoughtPruned("p", (2,)))
    port = choose(tree, 10)
    assert [row.guides + row.text for row in port.rows] == [
        "[3, 1, 2]", "├─(0,)", "├─(1,)", "│ ╰─(1, 0)", "╰─(2,)",
    ]  # fmt: skip
    assert [row.on_best_path for row in port.rows] == [True, False, True, True, False]
    assert (port.above, port.more) == (0, 0)


def test_siblings_that_are_decoded_share_a_row() -> None:
    tree = ShownProblem.start("p", "q")
    for rank in range(50):
        tree.apply(ThoughtCreated("p", (rank,), ((),)))
    tree.apply(ThoughtDecoded("p", (3,), "first", None, 0.0, 0, 0, 0))
    port = choose(tree, 10)
    assert [(row.text, row.together) for row in port.rows] == [("q", 1), ("", 49), ("first", 1)]
    assert port.more == 0


def test_a_probe_marks_the_thought_that_it_asks_about_and_is_neither_a_thought_nor_pruned() -> None:
    events = [
        run_started(1),
        ProblemStarted("p", "q"),
        *(ThoughtCreated("p", (rank,), ((),)) for rank in range(2)),
        *(ThoughtDecoded("p", (rank,), f"idea {rank}", None, 0.0, 0, 0, 0) for rank in range(2)),
        ThoughtCreated("p", (1, 0), ((1,),), probe=True),
    ]
    lines = drawn(events)
    assert [line.rstrip("│ ").endswith("probing") for line in lines if "idea" in line] == [False, True]
    assert any("2 thoughts" in line for line in lines)
    events += [ThoughtDecoded("p", (1, 0), "likely", None, 0.0, 0, 0, 0), ThoughtCreated("p", (1, 1), ((1,),))]
    text = "\n".join(drawn(events))
    assert "probing" not in text
    assert "likely" not in text
    assert "0 pruned" in text
    assert "1 more" not in text
    assert "decoding" in text


def test_a_probe_that_fails_is_shown_with_its_error() -> None:
    created = ThoughtCreated("p", (0,), ((),), probe=True)
    text = "\n".join(drawn([run_started(1), ProblemStarted("p", "q"), created, ThoughtFailed("p", (0,), "no room")]))
    assert "✗ no room" in text
    assert "probing" not in text


def test_the_problem_on_show_stays_until_it_is_done_and_seen() -> None:
    state = RunState(run_started(3), 0.0)
    for problem in "abc":
        state.apply(ProblemStarted(problem, problem), 0.0)
    for i in range(100):
        state.apply(ThoughtCreated("abc"[i % 3], (i,), ((),)), 0.001 * i)
    shown = state.snapshot(0.2, 10).problem
    other = next(problem for problem in "abc" if problem != shown)
    state.apply(problem_done(shown), 0.3)
    state.apply(ThoughtCreated(other, (200,), ((),)), 0.4)
    assert state.snapshot(0.5, 10).problem == shown
    assert state.snapshot(0.5 + DWELL, 10).problem == other


def test_pace_left_and_ratio() -> None:
    state = RunState(run_started(10), 0.0)
    assert state.snapshot(1.0, 5).seconds_left is None
    for i in range(100):
        state.apply(StepDone(i, 4, 0, 0, 8, 10, 12, 100, 10, 50, 0.1), i * 0.1)
    state.apply(ProblemStarted("a", 1), 10.0)
    state.apply(problem_done("a"), 10.0)
    found = state.snapshot(10.0, 5)
    assert found.seconds_left == pytest.approx(90.0)
    assert found.tokens_per_second == pytest.approx(80.0, rel=0.03)
    assert found.kv_read_ratio == 5.0
    assert state.snapshot(60.0, 5).tokens_per_second == 0.0


@settings(deadline=None)
@given(st.text(st.characters(), max_size=400), st.integers(2, 400))
def test_no_text_can_steer_a_terminal(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    line.encode()


def test_hostile_text_is_made_visible() -> None:
    assert one_line(HOSTILE).startswith("␛[2J␛]0;owned␇ [red]not markup[/] [/] �gnihtyreve�")
    assert one_line("a\n\t b\r\nc") == "a b c"
    assert one_line("e" + "\u0301" * 50) == "é\u0301\u0301"
    assert one_line("x" * 1000, 10) == "x" * 9 + "…"


def hostile_events() -> list[Event]:
    return [
        replace(run_started(2), task=HOSTILE, search=HOSTILE, model=HOSTILE),
        ProblemStarted(HOSTILE, {"text": HOSTILE}),
        ThoughtCreated(HOSTILE, (0,), ((),)),
        ThoughtDecoded(HOSTILE, (0,), HOSTILE, HOSTILE, 0.0, 0, 0, 0),
        ThoughtKept(HOSTILE, (0,)),
        ThoughtCreated(HOSTILE, (1,), ((), (0,))),
        ThoughtFailed(HOSTILE, (1,), HOSTILE),
        problem_done(HOSTILE, answer=HOSTILE, best=(0,)),
        ProblemStarted("p", 1),
        problem_done("p", status="failed", solved=False, error=HOSTILE),
    ]


@pytest.mark.parametrize("mode", ["rich", "plain", "json"])
def test_no_escape_of_a_model_reaches_the_terminal(mode: str) -> None:
    console, file = terminal()
    events = [*hostile_events(), replace(run_done(task=HOSTILE, search=HOSTILE), folder=HOSTILE)]
    with display(mode, console) as shown:
        for event in events:
            shown(event)
        if isinstance(shown, RichDisplay):
            console.print(shown.frame())
        logging.getLogger("test").warning("log of %s", HOSTILE)
    text = file.getvalue()
    text.encode()
    assert "\x1b[2J" not in text
    assert "\x1b]" not in text
    assert "\x9b" not in text
    assert "\u202e" not in text
    if mode == "rich":
        assert "log of ␛[2J" in text


def screen_of(text: str, width: int = 100, height: int = 80) -> pyte.Screen:
    """The screen after `text`, tall enough that nothing scrolls out of it."""
    screen = pyte.Screen(width, height)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return screen


def test_the_final_screen_of_a_terminal() -> None:
    console, file = terminal()
    root, library = logging.getLogger(), logging.getLogger("test.library")
    library.propagate = False
    stale = logging.StreamHandler(StringIO())
    root.addHandler(stale)
    library.addHandler(stale)
    try:
        with display("auto", console) as shown:
            assert stale not in root.handlers
            for event in Script().run():
                shown(event)
            for i in range(5):
                logging.getLogger("test").error("log line %d", i)
                time.sleep(0.2)
            shown(run_done())
        assert stale in root.handlers
    finally:
        root.removeHandler(stale)
        library.removeHandler(stale)
    screen = screen_of(file.getvalue())
    lines = [line.rstrip() for line in screen.display]
    assert [sum(f"log line {i}" in line for line in lines) for i in range(5)] == [1] * 5
    assert sum("done: 100 problems in 1:42" in line for line in lines) == 1
    assert not any("tokens/s" in line for line in lines)
    assert not screen.cursor.hidden


def test_an_interrupt_leaves_the_terminal_sane() -> None:
    console, file = terminal()

    def run() -> None:
        with display("rich", console) as shown:
            try:
                for event in half_way(Script()):
                    shown(event)
                time.sleep(0.3)
                raise KeyboardInterrupt
            finally:
                shown(run_done("interrupted", problems_done=34))

    with pytest.raises(KeyboardInterrupt):
        run()
    screen = screen_of(file.getvalue())
    assert not screen.cursor.hidden
    assert "interrupted: 34 of 100 problems done, kept in outputs/" in "\n".join(screen.display)


def test_the_live_view_says_that_the_run_is_stopping() -> None:
    console, file = terminal(width=80)
    with display("rich", console) as shown:
        for event in half_way(Script()):
            shown(event)
        shown.stopping()
        time.sleep(0.3)
    assert NOTE in file.getvalue()


@pytest.mark.parametrize("height", [12, 24])
def test_a_ctrl_c_that_the_terminal_echoes_does_not_tear_the_live_view(height: int) -> None:
    console, file = terminal(80, height)
    with display("rich", console) as shown:
        for event in half_way(Script()):
            shown(event)
        time.sleep(0.3)
        file.write("^C")
        time.sleep(0.3)
        lines = screen_of(file.getvalue(), 80, height).display
    assert sum("tree_of_thoughts on" in line for line in lines) == 1
    assert not any("^C" in line for line in lines)


@pytest.mark.parametrize("mode", ["plain", "json", "none"])
def test_displays_without_a_live_view_say_on_stderr_that_the_run_is_stopping(
    mode: str, capfd: pytest.CaptureFixture[str]
) -> None:
    console, file = pipe()
    with display(mode, console) as shown:
        shown.stopping()
    assert (file.getvalue(), *capfd.readouterr()) == ("", "", f"treereason: {NOTE}\n")


def test_an_error_without_an_end_shows_no_panel() -> None:
    console, file = terminal()

    def run() -> None:
        with display("rich", console) as shown:
            shown(run_started(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    screen = screen_of(file.getvalue())
    assert not screen.cursor.hidden
    assert "".join(screen.display).strip() == ""


def test_plain_lines(snapshot: SnapshotAssertion) -> None:
    console, file = pipe()
    ticks = itertools.count(0.0, 0.1)
    with PlainDisplay(console, clock=lambda: next(ticks)) as shown:
        for event in [*Script(problems=3).run(), problem_done("late", answer="é"), run_done()]:
            shown(event)
    assert "\x1b" not in file.getvalue()
    assert file.getvalue() == snapshot


def test_failed_thoughts_are_counted() -> None:
    created = [ThoughtCreated("p", (rank,), ((),)) for rank in range(3)]
    failed = [ThoughtFailed("p", (rank,), "no verdict") for rank in range(2)]
    numbers: dict[str, Any] = dict.fromkeys(STATES, 0) | dict.fromkeys(COUNTS, 1) | {"launch": ""}
    events = [run_started(1), ProblemStarted("p", 1), *created, *failed, StepDone(**numbers)]
    assert re.search(r"branches .* 0 pruned +2 failed", "\n".join(drawn(events)))
    assert "failed" not in "\n".join(drawn(events[:5]))
    console, file = pipe()
    ticks = itertools.count(0.0, 3.0)
    with PlainDisplay(console, clock=lambda: next(ticks)) as shown:
        for event in [*events, problem_done("p", thoughts_failed=2)]:
            shown(event)
    assert "0 pruned, 2 failed, " in file.getvalue()
    assert "p: solved, score 0.90, answer 42 (2 thoughts failed)\n" in file.getvalue()


def test_plain_lines_in_a_narrow_encoding() -> None:
    raw = BytesIO()
    console = Console(file=TextIOWrapper(raw, encoding="ascii"), force_terminal=False)
    with display("plain", console) as shown:
        for event in [run_started(1), ProblemStarted("p", 1), problem_done("p", answer="漢")]:
            shown(event)
    assert b"answer \\u6f22" in raw.getvalue()


def test_the_report_says_how_a_gpu_ran_the_steps() -> None:
    text = "\n".join(report.lines(run_done(launches={"prefill": 12, "graph": 3_400, "engine.deterministic": 1})))
    assert "steps     3,400 from graphs, 12 eager: prefill, 1 eager: engine.deterministic" in text
    assert "graphs" not in "\n".join(report.lines(run_done()))


def test_json_lines_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    events = [*Script().run(), run_done()]
    file = StringIO()
    ticks = itertools.count(0.0, 0.01)
    with JsonDisplay(file, clock=lambda: next(ticks)) as shown:
        for event in events:
            shown(event)
        print("a print of a task")  # noqa: T201
        logging.getLogger("test").warning("a log line")
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    steps = [event for event in events if isinstance(event, StepDone)]
    step_lines = [line for line in lines if line["kind"] == "step_done"]
    assert len(step_lines) < len(steps)
    for name in COUNTS:
        assert sum(line[name] for line in step_lines) == pytest.approx(sum(getattr(step, name) for step in steps))
    others = [event.kind for event in events if not isinstance(event, StepDone)]
    assert [line["kind"] for line in lines if line["kind"] != "step_done"] == others
    assert lines[-1]["kind"] == "run_done"
    out, err = capsys.readouterr()
    assert out == ""
    assert "a print of a task" in err
    assert "a log line" in err


def test_json_lines_add_up_for_each_launch() -> None:
    launches = ["prefill", "graph", "graph", "prefill", "prefill"]
    numbers: dict[str, Any] = dict.fromkeys(STATES, 0) | dict.fromkeys(COUNTS, 1)
    file = StringIO()
    with JsonDisplay(file, clock=lambda: 0.0) as shown:
        for launch in launches:
            shown(StepDone(**{**numbers, "launch": launch}))
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["launch"] for line in lines] == ["prefill", "graph", "prefill"]
    assert all([line[name] for line in lines] == [1, 2, 2] for name in COUNTS)


def test_none_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    console, file = terminal()
    with display("none", console) as shown:
        for event in [*Script().run(), run_done()]:
            shown(event)
    assert file.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_a_mode_is_chosen_by_where_stdout_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert isinstance(display("auto", terminal()[0]), RichDisplay)
    assert isinstance(display("rich", terminal()[0]), RichDisplay)
    assert isinstance(display("plain", terminal()[0]), PlainDisplay)
    console, file = pipe()
    assert isinstance(display("auto", console), PlainDisplay)
    assert file.getvalue() == ""
    assert isinstance(display("rich", console), PlainDisplay)
    assert file.getvalue() == "display=rich needs a terminal, so plain lines follow\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(display("auto", Console(file=StringIO())), PlainDisplay)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(display("auto", terminal()[0]), PlainDisplay)
    with pytest.raises(ValueError, match="loud"):
        display("loud", console)


@pytest.mark.parametrize(
    ("changes", "present", "absent"),
    [
        ({}, "15.3x fewer KV reads", "?"),
        ({"kv_read_ratio": None}, "83 of 100", "KV reads"),
        ({"single_sample_mean_score": None}, "greedy", "single sample"),
        ({"greedy_mean_score": None, "greedy_solved": None}, "single sample", "greedy"),
        ({"greedy_problems_done": 60}, "51 of 60", "?"),
        ({"first_error": "3: scorer: no key"}, "\nThe first failure, problem 3: scorer: no key", "all failed"),
        ({"solved": 0, "failed": 100}, "done: 100 problems in 1:42, all failed\n", "The first"),
        ({"tokens_unfinished": 1234}, "; 1,234 decoded for unfinished problems", "?"),
        ({"thoughts_failed": 1, "first_thought_error": "3: no"}, "\n1 thought failed; the first, problem 3: no", "?"),
        ({"thoughts_failed": 0, "first_thought_error": None}, "83 of 100", "thought failed"),
        ({"scorer_oracle": True, "scorer": "sums"}, "The scorer sums knows the truth", "?"),
        ({"scorer_oracle": True, "oracle_guided": True, "scorer": "sums"}, "The scorer sums knows the truth", "?"),
        ({"scorer_oracle": True, "oracle_guided": False, "scorer": "sums"}, "83 of 100", "knows the truth"),
        ({"problems_done": 0}, "stopped before the first", "solved 83"),
        ({"search": "best_of_n"}, "search=tree_of_thoughts", "?"),
        ({"problems": 1, "problems_done": 1, "solved": 1, "failed": 0}, "1 of 1 arithmetic problem.", "failed"),
    ],
)
def test_the_final_report_says_what_is_known(changes: dict[str, Any], present: str, absent: str) -> None:
    text = "\n".join(report.lines(run_done(**changes)))
    assert present in text
    assert absent not in text


def test_the_next_commands_repeat_what_was_typed() -> None:
    typed = ("search=tree_of_thoughts", "search.k=9", "task=./my tasks.py:Sums", "seed=7", "hydra.run.dir=x")
    said = report.report(run_done(), replace(run_started(1), overrides=typed))
    assert [command for command, _ in said.commands] == [
        "treereason 'task=./my tasks.py:Sums' search=best_of_n",
        "treereason search=tree_of_thoughts search.k=9 'task=./my tasks.py:Sums' seed=8",
        "treereason --help",
    ]


def test_a_task_with_a_search_of_its_own_is_offered_no_other() -> None:
    said = report.report(run_done(task="replay", search="replay"), replace(run_started(1), overrides=("task=replay",)))
    assert [command for command, _ in said.commands] == [
        "treereason task=replay search=replay seed=8",
        "treereason --help",
    ]


def test_a_report_without_a_summary() -> None:
    assert report.lines(RunDone("interrupted", {}, "here"))[0] == "interrupted: 0 of 0 problems done, kept in here"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1000, "1.0k"), (99_999, "100k"), (999_999, "1.0M"), (4.56e9, "4.6G")]
)
def test_short_numbers(number: float, text: str) -> None:
    assert figures.short(number) == text


def test_a_picture_of_a_folder_that_was_used_again_shows_the_latest_run() -> None:
    again = [*Script(problems=3, seed=1).run(), replace(run_started(3), pass_name="greedy"), run_done(solved=1)]
    journal = timed([*Script(problems=12).run(), run_done(solved=12), *again])
    assert [event for _, event in picture.last_run(journal)] == again
    with pytest.raises(ValueError, match="RunDone"):
        picture.report_svg(picture.last_run(journal[:-1]))


def test_pictures_show_a_telling_moment() -> None:
    events = timed([*Script(problems=12).run(), run_done()])
    svg = picture.live_svg(events, 100, 30)
    assert svg == picture.live_svg(events, 100, 30)
    for word in ("decoding", "tokens/s", "verdict"):
        assert word in svg
    assert "done:" in picture.report_svg(events)
    with pytest.raises(ValueError, match="RunDone"):
        picture.report_svg(events[:-1])
