"""What self-selected attention spans save: whole runs over lines that name what they need, and long contexts.

    python -m benchmarks.spans [--case 12 48 96 4096x1 4096x32 16384x8] [--model small] [--repeats 5] [--record]

Cases of one number are problems of so many operations, 16 at once: a line each in the prompt, a line each to decode.
Cases CxB are B branches that decode lines below one context of C tokens. Three sides take turns in one process on equal
tokens, which are given: with spans, with tree attention, and with every branch reading its own path. `seconds` are
of the whole work, prompts included, `decode_seconds` of the steps behind them, `cpu_seconds` of the process;
`kv_tokens_a_step` are read in a decode step of all branches, `view` is what one branch sees. A line of JSON a case.

Models have random weights: "small" has the shape of the shipped one, "wide" that of `benchmarks.decode`.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.decode_models import random_llama
from benchmarks.decode_sides import NumberTokenizer
from benchmarks.record import RESULTS, finish, spread
from treereason.core import Expansion, Prompt, Sampling
from treereason.core.spans import LinePolicy
from treereason.engine.attention.eager_step import AttentionKind
from treereason.engine.engine import Engine
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.make_quick import make_quick
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.step_batch import StepBatch
from treereason.engine.steps.step_kind import Drawn

PACKAGES = ("torch", "transformers")
SIZES = {"small": {"layers": 4, "hidden": 128}, "wide": {"layers": 8, "hidden": 512}}
LINE_END, NAMES_END, FIRST_LABEL, NUM_LABELS, FIRST_FILLER, NUM_FILLERS = 1, 2, 10, 2000, 2100, 40
POLICY = LinePolicy(
    labels=frozenset(range(FIRST_LABEL, FIRST_LABEL + NUM_LABELS)),
    line_end=frozenset([LINE_END]),
    names_end=frozenset([NAMES_END]),
)
PROBLEMS = 16
DECODED = 66
"""Tokens of a branch below a context: six lines."""


@dataclass(frozen=True)
class Work:
    """prompts: of each problem. texts: of each problem, the tokens that each of its branches decodes."""

    prompts: list[list[int]]
    texts: list[list[list[int]]]

    @property
    def num_tokens(self) -> int:
        """Of prompts and texts together."""
        return sum(map(len, self.prompts)) + sum(len(text) for texts in self.texts for text in texts)


def line(draw: random.Random, label: int, names: Sequence[int], body: int) -> list[int]:
    """A line of the grammar; labels are counted round."""
    ids = [FIRST_LABEL + number % NUM_LABELS for number in (label, *names)]
    return [*ids, NAMES_END, *(FIRST_FILLER + draw.randrange(NUM_FILLERS) for _ in range(body)), LINE_END]


def operations(draw: random.Random, count: int) -> tuple[list[int], list[int]]:
    """A problem of named one-operation lines, of the lengths that `task=arithmetic_spans` has: prompt and solution."""
    first = draw.randrange(NUM_LABELS)
    prompt = [0, *(token for i in range(count) for token in line(draw, first + i, (), 4))]
    text: list[int] = []
    for i in range(count):
        names = [first + draw.randrange(i)] if i else []
        text += line(draw, first + i, names, 6)
    return [*prompt, text[0]], text[1:]


def work_of(case: str, seed: int) -> Work:
    """The prompts and texts of a case, others for every seed."""
    draw = random.Random(seed)
    context, _, branches = case.partition("x")
    if not branches:
        pairs = [operations(draw, int(case)) for _ in range(PROBLEMS)]
        return Work([prompt for prompt, _ in pairs], [[text] for _, text in pairs])
    prompt = [0]
    num_lines = int(context) // 11
    for i in range(num_lines):
        prompt += line(draw, i, (), 8)
    texts = []
    for _ in range(int(branches)):
        names = [draw.randrange(num_lines) for _ in range(DECODED)]
        text = [token for i in range(0, DECODED, 11) for token in line(draw, num_lines + i, names[i : i + 2], 6)]
        texts.append(text[:DECODED])
    return Work([prompt], [texts])


class GivenEngine(Engine):
    """Decodes given tokens: all is computed and sampled, and what was drawn is replaced."""

    texts: list[list[list[int]]]

    def _accept(self, batch: StepBatch, branches: list[Branch], drawn: Drawn) -> int:
        given = [self.texts[int(b.problem)][b.path[0]][len(b.tokens)] for b in branches]
        return super()._accept(batch, branches, replace(drawn, tokens=given))


@dataclass
class Measured:
    """Of one run; kv_tokens: read by all decode steps together with spans, by the tree, and each branch its path."""

    seconds: float = 0.0
    decode_seconds: float = 0.0
    cpu_seconds: float = 0.0
    num_steps: int = 0
    num_rows: int = 0
    kv_tokens: tuple[int, int, int] = (0, 0, 0)


def run(model: LanguageModel, work: Work, side: str) -> Measured:
    """Decode the work once."""
    own: AttentionKind = model.attention
    alone: AttentionKind = "compiled_sequence" if own == "compiled" else "sequence"
    engine = GivenEngine(
        model,
        max_branches=256,
        prefill_tokens=max(map(len, work.prompts)) * len(work.prompts),
        kv_tokens=2 * work.num_tokens + 16 * 64,
        spans=POLICY if side == "spans" else None,
        attention=alone if side == "sequence" else own,
    )
    engine.texts = work.texts
    for problem, (prompt, texts) in enumerate(zip(work.prompts, work.texts, strict=True)):
        asked = Prompt("", token_ids=tuple(prompt), max_tokens=max(map(len, texts)), ignore_end=True)
        engine.submit(Expansion(str(problem), (), asked, tuple((i,) for i in range(len(texts))), Sampling(0.7)))
    found = Measured()
    begin, cpu = time.perf_counter(), time.process_time()
    while engine.busy:
        _, step = engine.step()
        if step is not None and not step.tokens_prefilled:
            found.decode_seconds += step.seconds
            found.num_steps += 1
            found.num_rows += step.num_branches
            read = step.kv_tokens_read_spans, step.kv_tokens_read_tree, step.kv_tokens_read_sequence
            found.kv_tokens = tuple(a + b for a, b in zip(found.kv_tokens, read, strict=True))  # type: ignore[assignment]
    found.seconds, found.cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    return found


def measure(model: LanguageModel, case: str, repeats: int) -> dict[str, Any]:
    """All sides of a case in turn, `repeats` times behind a short warm-up."""
    sides = ("spans", "tree", "sequence")
    small = work_of("2" if "x" not in case else "256x" + case.partition("x")[2], 0)
    for side in sides:
        run(model, small, side)
    found: dict[str, list[Measured]] = {side: [] for side in sides}
    for repeat in range(repeats):
        work = work_of(case, repeat)
        for side in sides[repeat % 3 :] + sides[: repeat % 3]:
            found[side].append(run(model, work, side))
    names = ("seconds", "decode_seconds", "cpu_seconds")
    times = {side: {name: spread([getattr(m, name) for m in runs]) for name in names} for side, runs in found.items()}
    runs = found["spans"]
    steps, rows = sum(m.num_steps for m in runs), sum(m.num_rows for m in runs)
    read = [sum(m.kv_tokens[i] for m in runs) for i in range(3)]
    medians = {name: {side: times[side][name]["median"] for side in sides} for name in names}
    return {
        "case": case,
        "kv_tokens_a_step": dict(zip(sides, (round(total / steps) for total in read), strict=True)),
        "path": round(read[2] / rows),
        "times": times,
        "speedup": {
            f"{name} over {side}": round(medians[name][side] / medians[name]["spans"], 2)
            for name in names
            for side in sides[1:]
        },
    }


def recorded_table() -> str:
    """The newest row of each case as a Markdown table."""
    rows = [json.loads(line) for line in (RESULTS / "spans.jsonl").read_text().splitlines()]
    newest = {(row["model"], row["case"]): row for row in rows}
    lines = ["| case | KV tokens a step: spans / tree / branch by branch | time over spans: tree | branch by branch |"]
    lines.append("|---|---|---|---|")
    for (_, case), row in newest.items():
        title = f"context {int(case.partition('x')[0]):,}, {case.partition('x')[2]} branches"
        read, over = row["kv_tokens_a_step"], row["speedup"]
        cells = (
            title if "x" in case else f"{case} operations, {PROBLEMS} problems",
            " / ".join(f"{read[side]:,}" for side in ("spans", "tree", "sequence")),
            f"{over['seconds over tree']:.2f}x",
            f"{over['seconds over sequence']:.2f}x",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spans")
    parser.add_argument("--case", nargs="+", default=["12", "48", "96", "4096x1", "4096x32", "16384x1", "16384x8"])
    parser.add_argument("--model", choices=SIZES, default="small")
    parser.add_argument("--torch", action="store_true", help="torch's operations instead of compiled kernels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--table", action="store_true", help="print the recorded rows as Markdown and stop")
    args = parser.parse_args()
    if args.table:
        print(recorded_table())
        return
    torch.set_num_threads(args.threads)
    network = random_llama(torch.float32, **SIZES[args.model])
    network.config.max_position_embeddings = 1 << 15
    model = LanguageModel(network, NumberTokenizer(), "plain")
    if not args.torch:
        make_quick(model, network)
    for case in args.case:
        measured = {
            "model": args.model,
            "attention": model.attention,
            "threads": args.threads,
            "repeats": args.repeats,
            **measure(model, case, args.repeats),
        }
        finish("spans", measured, packages=PACKAGES, record=args.record)


if __name__ == "__main__":
    main()
