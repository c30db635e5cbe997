"""docs/spans-accuracy.md from the recorded rows of `benchmarks.spans_accuracy`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.record import RESULTS, ROOT
from tools.spans_model.card import render_card, share
from treereason.engine.model.shipped import SHIPPED

PAGE = ROOT / "docs" / "spans-accuracy.md"
_SIZES = {"spans_accuracy": "operations", "spans_merging": "documents"}
Row = Mapping[str, Any]
Arm = tuple[str, bool, int, int]
"""Mask and gaps of the training, its tokens, and its seed."""


def recorded(benchmark: str = "spans_accuracy") -> dict[tuple[Arm, str], dict[int, Row]]:
    """The newest row by arm and view, then by operations or, of spans_merging, documents."""
    found: dict[tuple[Arm, str], dict[int, Row]] = {}
    path = RESULTS / f"{benchmark}.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        row = json.loads(line)
        found.setdefault((_arm_of(row["training"]), row["view"]), {})[row[_SIZES[benchmark]]] = row
    return found


def _arm_of(training: Mapping[str, Any]) -> Arm:
    return training["mask"], training["gaps"], training["tokens"], training["seed"]


def write_page() -> None:
    """Replace the tables of the page, behind its own words, and the card of the shipped model."""
    words = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(f"{words}{MARK}\n\n{tables()}\n", encoding="utf-8")
    (SHIPPED["embedded_spans"].folder / "README.md").write_text(card(), encoding="utf-8")


def card() -> str:
    """The shipped model's card from its rows."""
    training = json.loads((SHIPPED["embedded_spans"].folder / "training.json").read_text())
    return render_card(training, {view: rows for (arm, view), rows in recorded().items() if arm == _arm_of(training)})


MARK = "<!-- python -m benchmarks.spans_accuracy --page -->"


def tables() -> str:
    """Solved shares with intervals, and what a step reads, as Markdown."""
    rows = recorded()
    sizes = sorted({size for of_arm in rows.values() for size in of_arm})
    ordered = _in_order(rows)
    solved = [_line("trained with", "decoded", *map(str, sizes)), _line(*["---"] * (len(sizes) + 2))]
    reads = [_line("KV a step: tokens, share of the path", *map(str, sizes)), _line(*["---"] * (len(sizes) + 1))]
    for key in ordered:
        (arm, view), of_arm = key, rows[key]
        solved.append(_line(_arm(arm), _VIEWS[view], *(share(of_arm.get(size)) for size in sizes)))
        if view == "spans":
            reads.append(_line(_arm(arm), *(_read(of_arm.get(size)) for size in sizes)))
    return "\n".join([*solved, "", *reads, "", _DOCUMENTS, "", documents_table(), "", _SEARCHES, "", search_table()])


def documents_table() -> str:
    """Merged documents by arm and number, as Markdown."""
    rows = recorded("spans_merging")
    lines = [_line("trained with", "documents", "mean quality", "all as asked", "KV a step: tokens, share of the path")]
    lines.append(_line(*["---"] * 5))
    for key in _in_order(rows):
        for size, row in sorted(rows[key].items()):
            lines.append(_line(_arm(key[0]), str(size), f"{row['score']:.3f}", share(row), _read(row)))
    return "\n".join(lines)


def search_table() -> str:
    """Searches by the newest rows of `benchmarks.spans_search`, as Markdown."""
    path = RESULTS / "spans_search.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    newest = {(row["operations"], _arm_of(row["training"]), row["search"]): row for row in rows}
    lines = [
        _line("operations", "trained and decoded with", "search", "solved", "tokens", "KV reads: path, tree, spans"),
        _line(*["---"] * 6),
    ]
    for (operations, arm, search), row in sorted(
        newest.items(), key=lambda item: (item[0][0], item[0][1][0] == "full")
    ):
        names = ("kv_tokens_read_sequence", "kv_tokens_read_tree", "kv_tokens_read_spans")
        reads = ", ".join(f"{row[name] / 1e6:.2f}M" for name in names if name in row)
        lines.append(_line(str(operations), _arm(arm), search, share(row), f"{row['tokens']:,.0f}", reads))
    return "\n".join(lines)


_DOCUMENTS = """## Documents
`task=document_merging_spans`, 200 problems a row, greedy. Quality is `merge_quality`, the harmonic mean of two shares:
clauses that were kept, and clauses that were neither repeated nor invented."""
_SEARCHES = """## Searches
100 problems a row. Tree of thoughts takes lines as thoughts, three below each, and keeps two by a judge of steps: an
oracle that works out what each line must be, or the model's own likelihood. Tokens are those decoded a problem; KV
reads are those of all decode steps: each branch its path, the tree what is shared once, and with spans."""
_VIEWS = {"spans": "with spans", "everything": "reading everything", "blind": "blind to named lines"}


def _in_order(rows: Mapping[tuple[Arm, str], Any]) -> list[tuple[Arm, str]]:
    return sorted(rows, key=lambda key: (key[0][0] != "spans", key[1] != "spans", key[0][2], key[0][1:], key[1]))


def _arm(arm: Arm) -> str:
    mask, gaps, tokens, seed = arm
    gapped = (
        ", position gaps" if gaps and mask == "full" else ", no position gaps" if mask == "spans" and not gaps else ""
    )
    attention = "spans" if mask == "spans" else "full attention"
    return f"{attention}{gapped}, {tokens / 1e6:g}M tokens, seed {seed}"


def _read(row: Row | None) -> str:
    return "" if row is None else f"{row['kv_tokens_a_step']:.0f}, {row['kv_share']:.0%}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
