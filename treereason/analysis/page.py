"""The report of runs as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources
from typing import Any

import yaml

from treereason.analysis.charts import NUM_COLOURS, Line, line_chart
from treereason.analysis.comparison import METHOD, Comparison, RunRow
from treereason.analysis.comparison_table import GUIDES, difference_text, mean_text
from treereason.analysis.curve import Curve
from treereason.analysis.page_data import page_data
from treereason.analysis.recorded_run import RecordedRun
from treereason.jsonable import jsonable
from treereason.text import printable, printable_lines
from treereason.version import __version__

KV_POINTS = 400


def page(comparison: Comparison, curves: Sequence[Curve]) -> str:
    """The page of the compared runs; `curves` are theirs, in their order.

    Text of models, tasks and users is escaped here, or put in as text by the script; the page's policy lets no other
    script run and nothing be fetched.
    """
    style, script = _file("report.css"), _file("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    rows = comparison.rows
    data = page_data([row.run for row in rows], [_name(row) for row in rows])
    title = escape(", ".join(_name(row) for row in rows[:3]) + ", …" * (len(rows) > 3))
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>treereason: {title}</title><style>{style}</style></head><body>",
            f'<header><h1>treereason <span>{title}</span></h1><button id="theme">theme: auto</button></header><main>',
            *_runs(comparison),
            *_curves(rows, curves),
            _tree(),
            *_kv(rows),
            *_costs(rows),
            *_provenance(rows),
            f"</main><footer>treereason {escape(__version__)}. {escape(METHOD)}.</footer>",
            f'<script type="application/json" id="data">{_json(data)}</script>',
            f"<script>{script}</script></body></html>\n",
        ]
    )


def _runs(comparison: Comparison) -> Iterator[str]:
    at = f"at {comparison.tokens:,.0f} tokens"
    yield "<section><h2>Runs</h2>"
    number = {id(row): i for i, row in enumerate(comparison.rows)}
    for guide in dict.fromkeys(row.guide for row in comparison.rows):
        headings = ["run", "search", "model", "problems", "tokens", "solved", f"solved {at}", "mean score", "of scorer"]
        cells = []
        for row in (row for row in comparison.rows if row.guide == guide):
            started = row.run.started
            means = map(mean_text, (row.solved, row.equal_solved, row.score))
            figures = [f"{row.problems:,} of {started.num_problems:,}", f"{row.tokens:,.0f}", *means]
            cells.append(
                [_key(row, number[id(row)]), *map(_safe, [started.search, started.model, *figures, started.scorer])]
            )
        yield _table(f"<b>{GUIDES[guide]}</b>", headings, cells, numbers=range(3, 8))
    if comparison.differences:
        headings = ["difference", "guide", "pairs", "solved", f"solved {at}", "mean score"]
        cells = [
            [_safe(f"{each.other} − {each.base}"), each.guide, f"{each.paired:,}"]
            + [difference_text(mean) for mean in (each.solved, each.equal_solved, each.score)]
            for each in comparison.differences
        ]
        yield _table("<b>differences</b>, paired by problem", headings, cells, numbers=range(2, 6))
    notes = "".join(f"<li>{_safe(note)}</li>" for note in comparison.notes)
    yield f"<ul class='notes'>{notes}</ul>" if notes else ""
    yield f"<p class='faint'>Tokens are decoded ones a problem, on average. {at.capitalize()}: a run that took more is "
    yield "cut, at as many tokens a problem as give it that mean. In brackets 95% intervals.</p></section>"


def _curves(rows: Sequence[RunRow], curves: Sequence[Curve]) -> Iterator[str]:
    yield "<section><h2>Accuracy against tokens</h2><div class='charts'>"
    for guide in dict.fromkeys(row.guide for row in rows):
        own = [(i, row, found) for i, (row, found) in enumerate(zip(rows, curves, strict=True)) if row.guide == guide]
        lines = [
            Line(_name(row), i % NUM_COLOURS, found.tokens, found.solved, found.low, found.high)
            for i, row, found in own
        ]
        legend = "".join(_key(row, i) for i, row, _ in own)
        chart = line_chart(lines, "decoded tokens a problem, on average", "share solved", 1.0)
        yield f"<figure><figcaption>{GUIDES[guide]} <span class='legend'>{legend}</span></figcaption>{chart}</figure>"
    yield "</div><p class='faint'>Every problem is cut at the same number of tokens, and answered by the search's own "
    yield "rule with what was complete by then. Bands are 95% intervals over problems.</p></section>"


def _tree() -> str:
    return """\
<section><h2>Thoughts</h2><div class="bar">
<label>run <select id="run"></select></label><label>problem <select id="problem"></select></label>
<label>find <input id="find" type="search" placeholder="text of a thought"></label>
<label><input id="pruned" type="checkbox" checked> pruned</label>
<span class="buttons"><button id="out" title="zoom out (-)">−</button><button id="in" title="zoom in (+)">+</button>
<button id="fit" title="all of the tree (0)">all</button><button id="best" title="the answer (b)">answer</button></span>
<span id="outcome"></span></div>
<div class="tree"><canvas id="canvas" tabindex="0" role="application" aria-label="tree of thoughts;
arrow keys go from thought to thought, the text beside it is the one that is chosen"></canvas>
<aside id="detail" aria-live="polite"></aside></div>
<p class="faint">Wheel or + and − zoom, dragging moves, a click chooses. Keys: arrows go to parent, child and siblings,
Enter closes and opens what is below, 0 shows all, b the answer, n and p the next and previous problem.</p></section>"""


def _kv(rows: Sequence[RunRow]) -> Iterator[str]:
    lines = []
    for i, row in enumerate(rows):
        steps = row.run.steps
        if not any(step.kv_tokens_used for _, step in steps):
            continue
        size = max(1, -(-len(steps) // KV_POINTS))
        pieces = [steps[at : at + size] for at in range(0, len(steps), size)]
        peaks = [max(step.kv_tokens_used for _, step in piece) for piece in pieces]
        lines.append(Line(_name(row), i % NUM_COLOURS, [piece[-1][0] for piece in pieces], peaks, steps=True))
    if not lines:
        return
    legend = "".join(_key(row, i) for i, row in enumerate(rows))
    yield f"<section><h2>KV over time</h2><div class='charts'><figure><figcaption><span class='legend'>{legend}</span>"
    yield f"</figcaption>{line_chart(lines, 'seconds since the start', 'tokens in the KV cache')}</figure></div>"
    yield "<p class='faint'>After each engine step, greedy baseline included; of many steps the largest.</p></section>"


def _costs(rows: Sequence[RunRow]) -> Iterator[str]:
    yield "<section><h2>Costs</h2>"
    headings = ["run", "decoded", "of judges", "wasted", "prefilled", "reused", "rebuilt", "KV peak", "KV reads saved"]
    headings += ["seconds", "tokens/s", "failed problems", "failed thoughts"]
    cells = []
    for i, row in enumerate(rows):
        summary = row.run.summary
        names = ("tokens_decoded", "judge_tokens_decoded", "tokens_wasted", "tokens_prefilled", "tokens_reused")
        counts = [f"{int(summary.get(name) or 0):,}" for name in (*names, "tokens_rebuilt", "kv_tokens_peak")]
        ratio, pace = summary.get("kv_read_ratio"), summary.get("tokens_per_second")
        counts += [f"{ratio:.1f}x" if ratio else "-", f"{row.seconds:,.1f}", f"{pace:,.0f}" if pace else "-"]
        cells.append([_key(row, i), *counts, f"{row.failed:,}", f"{int(summary.get('thoughts_failed') or 0):,}"])
    yield _table("tokens of the search, greedy baseline left out", headings, cells, numbers=range(1, 13)) + "</section>"


def _provenance(rows: Sequence[RunRow]) -> Iterator[str]:
    yield "<section><h2>Commands and versions</h2>"
    for i, row in enumerate(rows):
        run, started = row.run, row.run.started
        told = ", ".join(f"{name} {version}" for name, version in run.versions.items()) or "not recorded in the journal"
        guides = ", ".join(run.summary.get("guided_by") or ()) or "no score"
        facts = {
            "folder": str(run.folder),
            "status": str(run.summary["status"]),
            "seed": str(started.seed),
            "guided by": guides,
            "repeats": started.repeats or "not recorded in the journal",
            "versions": told,
        }
        yield f"<details{' open' * (len(rows) == 1)}><summary>{_key(row, i)}</summary>"
        yield f"<pre>{_safe_lines(run.command or 'started from Python')}</pre><dl>"
        yield "".join(f"<dt>{escape(name)}</dt><dd>{_safe(text)}</dd>" for name, text in facts.items())
        yield f"</dl><details><summary>configuration</summary><pre>{_safe_lines(_yaml(run))}</pre></details></details>"
    yield "</section>"


def _yaml(run: RecordedRun) -> str:
    return yaml.safe_dump(jsonable(run.started.config), sort_keys=False, allow_unicode=True)


def _table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int]) -> str:
    """A table of cells that are HTML already. numbers: columns that are flush right."""
    right = set(numbers)
    ends = ["class='number'" if i in right else "" for i in range(len(headings))]
    head = "".join(f"<th scope='col' {end}>{escape(text)}</th>" for text, end in zip(headings, ends, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td {end}>{cell}</td>" for cell, end in zip(row, ends, strict=True)) + "</tr>"
        for row in rows
    )
    inner = f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f"<div class='scroll'><table>{inner}</table></div>"


def _json(value: Any) -> str:
    """JSON that no text in it can end: `</` and `<!` are in texts alone, and are written otherwise there."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("</", r"<\/").replace("<!", r"\u003c!")


def _key(row: RunRow, number: int) -> str:
    """A run's name behind its colour."""
    return f"<span class='key c{number % NUM_COLOURS}'></span>{escape(_name(row))}"


def _name(row: RunRow) -> str:
    return printable(row.name, 80)


def _safe(text: str) -> str:
    return escape(printable(text, 1000))


def _safe_lines(text: str) -> str:
    return escape(printable_lines(text))


def _file(name: str) -> str:
    return (resources.files("treereason.analysis") / name).read_text(encoding="utf-8")
