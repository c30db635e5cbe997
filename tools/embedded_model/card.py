"""The model card that is written beside a trained checkpoint."""

from collections.abc import Sequence

from tools.embedded_model.evaluate import TEMPERATURE, Measurement
from tools.embedded_model.tokenizer import vocabulary

_CARD = """---
license: mit
library_name: transformers
pipeline_tag: text-generation
---

# The small model of treereason

A Llama decoder with {parameters:,} parameters that sorts digits, calculates, merges small contracts, intersects sets,
plays countdown, and judges its own sorting and calculating. It was trained from random weights by
`tools/embedded_model`, so that a search can be tried on any machine within seconds. It knows nothing else: text outside
its {vocabulary} tokens becomes `<unk>`.

## Problems

    sort 865230=                    023568
    merge 0023+1445=                00123445
    fix 31415:11345=                11345       the list, then a doubtful attempt to sort it
    Q2+4*5                          =2+20, =22, A22, each on its own line
    doc Alice pays Bob 40 dollars; Carol audits Dan every 3 weeks;
    doc Carol audits Dan every 3 weeks;
    merge=                          each clause once, in order of first appearance
    meet 3 17 4+17 9 3=             3 17        what is in both sets, ascending; nothing where they share nothing
    make 24 4 5 6 10:               4*5=20,6 10 20 and so on down to 20+4=24,24: a step, then the numbers left
    Q2+4*5, =2+22, ?                -           behind a line, an answer or a sorted list: + all is right, - it is not

A text begins with `<bos>`, which the tokenizer adds, and an answer ends with `<eos>`. Solved examples may precede a
question; when they give the answer alone, so does the model.

## Training

- Data: generated on the fly by `tools.embedded_model.data`, nothing else. Lists of 4 to 64 digits; 1 to 6 operations
  on numbers 0 to 999 with 0 to 8 solved examples; 2 to 4 documents, at times the last one a draft of their merge; two
  sets of up to 16 numbers below 64; 3 or 4 numbers from 1 to 13 with targets up to 99, half of them 24. Verdicts are
  learned on attempts of an earlier state of the model at temperature 0.9 (`tools.embedded_model.attempts`).
- Seed {seed}, {steps:,} steps, {tokens:,} tokens, {minutes:.1f} minutes on {threads} CPU threads.
- Muon for matrices, AdamW for the rest, loss on answers only, every step a mix of all tasks.
- The weights lie in the file as float16 and load as float32.

## Measured

On fresh problems of the same generators, with the weights as they lie in the file. Samples at temperature
{temperature} without top-k or top-p; "one sample" is the mean over all samples drawn. List and arithmetic rows are
shares of right answers; document rows are means of `contracts.merge_score`, or shares of perfect merges. "any of"
and "best of" choose with the true answer or score in hand: an upper bound for a search by other scores. Verdicts are
shares of right verdicts on the model's own solutions up to some line, after right and after wrong ones.

| problem | N | scores |
|---|---|---|
{rows}

## Limits

No weakness was planted: the errors above are its own. Lists over 64 digits, more than 6 operations and more than 4
documents were never shown in training and are not measured. A verdict is the model's opinion. It
has no use outside these problems.

Licence: MIT.
"""


def render_scores(measurement: Measurement) -> str:
    """The scores of one measurement on one line."""
    return ", ".join(f"{label} {score:.3f}" for label, score in measurement.scores.items())


def render_card(
    measurements: Sequence[Measurement],
    *,
    parameters: int,
    seed: int,
    steps: int,
    tokens: int,
    minutes: float,
    threads: int,
) -> str:
    """Markdown text of the card; `minutes` is the time spent on training steps, `tokens` counts padded ids."""
    rows = [f"| {m.name} | {m.problems} | {render_scores(m)} |" for m in measurements]
    return _CARD.format(
        rows="\n".join(rows) or "| not measured | 0 | |",
        temperature=TEMPERATURE,
        parameters=parameters,
        vocabulary=len(vocabulary()),
        seed=seed,
        steps=steps,
        tokens=tokens,
        minutes=minutes,
        threads=threads,
    )
