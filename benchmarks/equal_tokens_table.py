"""The recorded rows of `benchmarks.equal_tokens` as Markdown tables, one a setting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.record import RESULTS

BASELINES = ("best_of_n", "self_consistency", "weighted_vote", "sample_until")


def recorded_table() -> str:
    """The newest row of each search and setting; a gain in bold is one whose interval lies above 0."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    recorded = RESULTS / "equal_tokens.jsonl"
    if not recorded.exists():
        return "nothing is recorded yet: add --record to a run"
    for line in recorded.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows[row["setting"], row["search"]] = row
    settings = dict.fromkeys(setting for setting, _ in rows)
    return "\n\n".join(
        "\n".join(_table([row for (of, _), row in rows.items() if of == setting])) for setting in settings
    )


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    first = rows[0]
    against = [name for name in BASELINES if any(name in row.get("against", {}) for row in rows)]
    yield f"**{first['setting']}** ({first['guidance']}, {first['problems']} problems, {first['seeds']} seeds)"
    yield ""
    titles = [name.replace("_", " ") for name in against]
    yield _line(
        "search", first["unit"], "tokens", *(f"over {title}" for title in titles), "peak KV", "reads saved", "s"
    )
    yield _line(*["---"] * (6 + len(against)))
    for row in sorted(rows, key=lambda row: -row["value"]):
        gains = [_gain(row.get("against", {}).get(name)) for name in against]
        low, high = row["interval"]
        yield _line(
            f"`{row['search']}`",
            f"{row['value']:.3f} ({low:.3f} to {high:.3f})",
            f"{row['tokens']:,.0f}",
            *gains,
            f"{row['kv_tokens_peak']:,}" if "kv_tokens_peak" in row else "",
            f"{row['kv_read_ratio']}x" if "kv_read_ratio" in row else "",
            f"{row['seconds']:.0f}" if "seconds" in row else "",
        )


def _gain(against: dict[str, Any] | None) -> str:
    if against is None:
        return ""
    low, high = against["gain_interval"]
    gain = f"{against['gain']:+.3f}"
    return f"{f'**{gain}**' if low > 0 else gain} ({low:+.3f} to {high:+.3f})"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
