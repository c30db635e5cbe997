"""The model card of the shipped model with spans, from how it was trained and what was recorded of it."""

from collections.abc import Mapping
from typing import Any

_CARD = """---
license: mit
library_name: transformers
pipeline_tag: text-generation
---

# The small model of treereason with attention spans

A Llama decoder with {parameters:,} parameters that evaluates expressions given as named lines, and names in each line
of its solution the lines that it needs. It was trained from random weights to see those alone, as
`task=arithmetic_spans` of treereason lets it (after Jin et al. 2024, arXiv 2404.09336). It knows nothing else: text
outside its tokens becomes `<unk>`. Read with full attention, as plain transformers does, it fails; see below.

    c0=41-7         prompt: definitions; the last one is marked, and the first label ends the prompt
    d0=c0*2
    e0=90-d0?
    c0
    =41-7=34        solution
    d0c0=34*2=68    a label and the names of what is needed open its definition and their values
    e0d0=90-68=22   <eos>

A token sees `<bos>`, its own line, and the lines opened so far in it: `treereason.core.spans.SpanGrammar`.

## Training

- Data: generated on the fly by `tools.spans_model.data` from `treereason.tasks.generators.named_lines`, nothing else:
  1 to 16 operations on numbers from 0 to 99. The starts of lines jump by up to 2,900 positions together, so that far
  lines look as they will.
- Seed {seed}, {steps:,} steps, {seen:,} tokens, {minutes} minutes of one CPU thread.
- Muon for matrices, AdamW for the rest, loss on solutions only, dense masks made from the same definition that the
  engine reads.
- The weights lie in the file as float16 and load as float32.

## Measured

Share of {problems} fresh problems whose final value is right, greedy, with 95% Wilson intervals. More than 16
operations were never trained. "Everything" is full attention over the same text, "blind" hides the named lines.
`python -m benchmarks.spans_accuracy --model embedded_spans`; beside other trainings in docs/spans-accuracy.md.

{table}

Licence: MIT.
"""
_NAMES = {"spans": "with spans", "everything": "everything", "blind": "blind"}


def render_card(training: Mapping[str, Any], rows: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> str:
    """training: what training.json holds. rows: by view, then by operations, as `benchmarks.spans_accuracy` records."""
    sizes = sorted({size for of_view in rows.values() for size in of_view})
    counts = sorted({row["problems"] for of_view in rows.values() for row in of_view.values()})
    lines = [f"| operations | {' | '.join(map(str, sizes))} |", "|---" * (len(sizes) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(share(rows[view].get(size)) for size in sizes)} |"
        for view, name in _NAMES.items()
        if view in rows
    ]
    told = [f"{row['kv_share']:.0%}" if (row := rows.get("spans", {}).get(size)) else "" for size in sizes]
    lines.append(f"| KV read a step with spans | {' | '.join(told)} |")
    return _CARD.format(**training, problems=" or ".join(map(str, counts)), table="\n".join(lines))


def share(row: Mapping[str, Any] | None) -> str:
    """The solved share of a recorded row with its interval."""
    if row is None:
        return ""
    low, high = row["interval"]
    return f"{row['solved']:.3f} ({low:.2f} to {high:.2f})"
