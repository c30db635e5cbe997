"""A comparison as flat rows, for files. Figures of runs that an oracle guided have columns of their own."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from treereason.analysis.comparison import METHOD, Comparison, Mean
from treereason.core import UserError
from treereason.record.folder import unwritable

_PYARROW = "pip install 'treereason[parquet]'"


def run_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per run: its settings and figures, then the differences to the first run of the same guide."""
    guides = list(dict.fromkeys(row.guide for row in comparison.rows))
    against = {each.other: each for each in comparison.differences}
    rows = []
    for row in comparison.rows:
        started = row.run.started
        flat: dict[str, Any] = {
            "run": row.name,
            "task": started.task,
            "search": started.search,
            "model": started.model,
            "scorer": started.scorer,
            "seed": started.seed,
            "guide": row.guide,
            "guided_by": ",".join(row.run.summary.get("guided_by") or ()),
            "problems": row.problems,
            "failed": row.failed,
            "tokens_per_problem": row.tokens,
            "tokens_prefilled_per_problem": row.prefilled,
            "kv_tokens_peak": row.kv_tokens_peak,
            "seconds": row.seconds,
            "equal_tokens_per_problem": comparison.tokens,
            "cut_tokens": row.cut,
        }
        for guide in guides:
            end = guide.replace("-", "_")
            own = row.guide == guide
            for name in ("solved", "score", "equal_solved", "equal_score"):
                flat |= _flat(f"{name}_{end}", getattr(row, name) if own else None)
        difference = against.get(row.name)
        flat["compared_with"] = difference.base if difference else None
        flat["paired"] = difference.paired if difference else None
        for name in ("solved", "score", "equal_solved", "equal_score"):
            flat |= _flat(f"difference_{name}", getattr(difference, name) if difference else None)
        rows.append(flat)
    return rows


def as_json(comparison: Comparison) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "method": METHOD,
        "equal_tokens_per_problem": comparison.tokens,
        "runs": run_rows(comparison),
        "notes": comparison.notes,
    }


def as_csv(comparison: Comparison) -> str:
    """What `--csv` prints: a line of names, then one per run; what is not known is empty."""
    rows = run_rows(comparison)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_parquet(comparison: Comparison, path: Path) -> None:
    """The rows as a Parquet file. Raises UserError without pyarrow, and where the file cannot be written."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(f"--parquet needs pyarrow: {_PYARROW}") from None
    try:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(run_rows(comparison)), path)
    except OSError as error:
        raise unwritable(path, error.strerror or error, "give another place") from error


def _flat(name: str, mean: Mean | None) -> dict[str, float | int | None]:
    return {
        name: mean.value if mean else None,
        f"{name}_low": mean.low if mean else None,
        f"{name}_high": mean.high if mean else None,
        f"{name}_n": mean.num if mean else None,
    }
