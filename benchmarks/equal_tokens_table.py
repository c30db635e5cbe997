"""The recorded rows of `benchmarks.equal_tokens` as Markdown: a table a setting, and one line a setting."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.record import RESULTS

BASELINES = ("best_of_n", "self_consistency", "weighted_vote", "sample_until")
SINGLE = ("greedy", "single_sample")
Row = Mapping[str, Any]


def recorded_table() -> str:
    """The newest row of each search, by setting; a gain in bold is one whose interval lies above 0."""
    return "\n\n".join("\n".join(_table(list(rows.values()))) for rows in _recorded().values())


def recorded_summary() -> str:
    """One line a setting: what one answer, the baselines and the best search reach at about the same tokens."""
    lines = [
        _line(
            "setting", "tokens", "one sample", "greedy", *(_title(name) for name in BASELINES), "best search", "ahead"
        ),
        _line(*["---"] * (6 + len(BASELINES))),
    ]
    for setting, rows in _recorded().items():
        searches = [row for name, row in rows.items() if name not in SINGLE]
        best = max(searches, key=lambda row: row["value"])
        against: Mapping[str, Row] = best["against"]
        lines.append(
            _line(
                f"{setting} ({best['guidance']})",
                f"{best['tokens']:,.0f}",
                f"{rows['single_sample']['value']:.3f}",
                f"{rows['greedy']['value']:.3f}",
                *(f"{against[name]['value']:.3f}" if name in against else "" for name in BASELINES),
                f"`{best['search']}` **{best['value']:.3f}**",
                f"{sum(map(_ahead, searches))} of {len(searches)}",
            )
        )
    return "\n".join(lines)


def _recorded() -> dict[str, dict[str, Row]]:
    """The newest rows by setting and search; without those that an oracle guided where it should not have."""
    found: dict[str, dict[str, Row]] = {}
    recorded = RESULTS / "equal_tokens.jsonl"
    for line in recorded.read_text(encoding="utf-8").splitlines() if recorded.exists() else ():
        row = json.loads(line)
        if row["guidance"] == "oracle" or "oracle" not in row.get("guided_by_basis", ()):
            found.setdefault(row["setting"], {})[row["search"]] = row
    return found


def _ahead(row: Row) -> bool:
    """Whether the whole interval of the gain over every baseline lies above 0."""
    return all(against["gain_interval"][0] > 0 for against in row["against"].values())


def _table(rows: list[Row]) -> Iterator[str]:
    first = rows[0]
    against = [name for name in BASELINES if any(name in row.get("against", {}) for row in rows)]
    yield f"**{first['setting']}** ({first['guidance']}, {first['problems']} problems, {first['seeds']} seeds)"
    yield ""
    over = (f"over {_title(name)}" for name in against)
    yield _line("search", first["unit"], "tokens", *over, "peak KV", "reads saved", "prompt reused", "s")
    yield _line(*["---"] * (7 + len(against)))
    for row in sorted(rows, key=lambda row: -row["value"]):
        low, high = row["interval"]
        yield _line(
            f"`{row['search']}`",
            f"{row['value']:.3f} ({low:.3f} to {high:.3f})",
            f"{row['tokens']:,.0f}",
            *(_gain(row.get("against", {}).get(name)) for name in against),
            f"{row['kv_tokens_peak']:,}" if "kv_tokens_peak" in row else "",
            f"{row['kv_read_ratio']}x" if "kv_read_ratio" in row else "",
            f"{row['prompt_tokens_reused']:.0%}" if "prompt_tokens_reused" in row else "",
            f"{row['seconds']:.0f}" if "seconds" in row else "",
        )


def _gain(against: Row | None) -> str:
    if against is None:
        return ""
    low, high = against["gain_interval"]
    gain = f"{against['gain']:+.3f}"
    return f"{f'**{gain}**' if low > 0 else gain} ({low:+.3f} to {high:+.3f})"


def _title(name: str) -> str:
    return name.replace("_", " ")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
