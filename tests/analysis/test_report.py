"""`treereason report`: one page that needs nothing else, and in which text stays text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.made_up_runs import folder
from tests.analysis.chromium import Chromium, program
from treereason.analysis.charts import Line, line_chart, ticks
from treereason.analysis.page_data import MOST_TEXT, page_data
from treereason.analysis.recorded_run import read_run
from treereason.cli.main import main
from treereason.events import RunDone
from treereason.record.journal import Journal

HOSTILE = "</script><!--<script><img src=x onerror=\"document.title='owned'\"><b>bold</b> \x1b[31m \u202eabc \ud800"
in_a_browser = pytest.mark.skipif(program() is None, reason="needs chromium")


def data_of(page: Path) -> dict[str, object]:
    """What the page's script reads."""
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)
    found: dict[str, object] = json.loads(text)
    return found


def test_the_page_names_no_address_and_holds_all_that_was_recorded(recorded: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    folders = [str(recorded / name) for name in ("vote_6", "vote_3", "best_4", "tree")]
    assert main(["report", *folders, "-o", str(page)]) == 0
    text = page.read_text()
    assert not re.search(r"https?://|src=|href=|@import|url\(", text)
    assert "default-src 'none'" in text
    for word in (
        "vote_3 − vote_6",
        "oracle-guided",
        "Accuracy against tokens",
        "KV over time",
        "Costs",
        "self_consistency",
    ):
        assert word in text
    runs = data_of(page)["runs"]
    assert isinstance(runs, list)
    for run, name in zip(runs, ("vote_6", "vote_3", "best_4", "tree"), strict=True):
        problems = read_run(recorded / name).problems
        assert [len(each["text"]) for each in run["problems"]] == [len(each.thoughts) for each in problems.values()]


def test_hostile_text_ends_no_element_of_the_page(tmp_path: Path) -> None:
    run = folder(tmp_path / "run", 40, lambda _: HOSTILE)
    assert main(["report", str(run)]) == 0
    text = (run / "report.html").read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    assert "<img" not in text.replace(json.dumps("<img")[1:-1], "", 0).split('id="data">')[0]
    assert "<!--" not in text


def test_long_texts_are_cut_so_that_the_page_stays_small(tmp_path: Path) -> None:
    run = read_run(folder(tmp_path / "run", 300, lambda rng: rng.choice(["短い", "x" * 90_000, '"\n<' * 30_000])))
    [problem] = page_data([run], ["run"])["runs"][0]["problems"]
    assert len(json.dumps(problem["text"], ensure_ascii=False).encode()) < 1.05 * MOST_TEXT
    assert "短い" in problem["text"]
    assert any("more characters: treereason show has them" in text for text in problem["text"])


@pytest.mark.parametrize(
    ("most", "found"),
    [
        (1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (7.0, [0, 2, 4, 6]),
        (430.0, [0, 100, 200, 300, 400]),
        (0.031, [0, 0.01, 0.02, 0.03]),
    ],
)
def test_ticks_are_round_numbers(most: float, found: list[float]) -> None:
    assert ticks(most) == found


def test_a_chart_without_lines_is_still_a_chart() -> None:
    assert line_chart([], "x", "y").startswith("<svg")
    assert "&lt;b&gt;" in line_chart([Line("<b>", 0, [0, 1], [0, 1])], "x", "y")


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser_thoughts_open_by_key_and_click_and_stay_text(tmp_path: Path, dark: bool) -> None:
    run = folder(tmp_path / "run", 300, lambda _: HOSTILE)
    assert main(["report", str(run)]) == 0
    with Chromium(tmp_path / "browser", dark=dark) as browser:
        browser.open(run / "report.html")
        assert browser.run("document.title") == "treereason: run"
        shown = "document.querySelector('#detail h3').textContent"
        assert browser.run(shown).startswith("The answer, thought ")
        browser.run("choose(-1, true); canvas.focus()")
        assert browser.run(shown) == "Problem p"
        for key in ("ArrowRight", "ArrowRight", "ArrowDown", "+", "+", "Enter", "Enter", "0"):
            browser.key(key)
        assert browser.run(shown).startswith("Thought ")
        browser.run("choose(-1); fit(); canvas.scrollIntoView()")
        box = browser.run("(box => [box.x, box.y])(canvas.getBoundingClientRect())")
        x, y = (edge + at for edge, at in zip(box, browser.run("place(3)"), strict=True))
        browser.click(x, y)
        assert browser.run(shown).startswith("Thought ")
        assert "</script><!--<script><img" in browser.run("document.querySelector('#detail pre').textContent")
        assert browser.run("document.querySelectorAll('#detail img, #detail b').length") == 0
        before = browser.run("tree.shown.length")
        browser.run("byId('pruned').click()")
        assert 0 < browser.run("tree.shown.length") < before
        lightness = browser.run("getComputedStyle(document.body).backgroundColor")
        assert (lightness == "rgb(255, 255, 255)") != dark
        assert browser.errors == []
        assert browser.requests == [(run / "report.html").as_uri()]


@pytest.mark.slow
@in_a_browser
def test_in_a_browser_ten_thousand_thoughts_can_be_used(tmp_path: Path) -> None:
    run = folder(tmp_path / "run", 10_000)
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").stat().st_size < 10 * 2**20
    with Chromium(tmp_path / "browser") as browser:
        browser.open(run / "report.html")
        assert browser.run("tree.shown.length") == 10_001
        assert browser.run("(() => { const t = performance.now(); for (let i = 0; i < 10; i++) draw(); "
                           "return (performance.now() - t) / 10; })()") < 500  # fmt: skip
        assert browser.errors == []


def test_versions_that_no_run_writes_are_left_out(tmp_path: Path) -> None:
    run = folder(tmp_path, 3)
    with Journal(run / "journal.sqlite") as journal:
        journal(RunDone("done", {"versions": ["torch"]}, ""))
    assert read_run(run).versions == {}
