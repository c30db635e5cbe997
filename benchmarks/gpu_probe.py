"""What a card is able to do, and which tile, stages, steps and samplings suit it: the first run on a new one.

    python -m benchmarks.gpu_probe [ceilings sampling steps sweep graphs] [--record]

Each section prints a line per measurement; the last line is JSON, or with --record the file that has it. Medians,
microseconds. Sections run in the order above: what the last one tries out leaves torch 2.11 broken. Exit code 1 when a
section ended with an error. Without a GPU the shapes are tiny and the times mean nothing: a check of the script under
the interpreter (TRITON_INTERPRET=1).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks.forests import PAGE, Forest, levels, several, star
from benchmarks.graph_probe import graphs
from benchmarks.record import finish
from treereason.core import Expansion, Prompt, Sampling
from treereason.engine.engine import Engine
from treereason.engine.model.fused_kernels import gpu_kernels
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.make_quick import fuse_known
from treereason.engine.steps.cuda_capture import cuda_capture
from treereason.engine.steps.graph_steps import GraphSteps
from treereason.engine.steps.sampler import sample, sample_by_torch
from treereason.engine.steps.sampling_rows import SamplingRows
from treereason.kernels.gpu.row_blocks import widest_tree
from treereason.kernels.gpu.tile import Tile, arch_of, choose_tile, programs
from treereason.kernels.gpu.tree_decode import TreeDecode
from treereason.kernels.layer import LayerShape
from treereason.kernels.options import AttentionOptions
from treereason.kernels.plan import kv_pool

Row = dict[str, Any]
GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
DTYPE = torch.bfloat16 if GPU else torch.float32


def median_us(run: Callable[[], object], repeats: int = 20, before: Callable[[], object] | None = None) -> float:
    """Median microseconds of a call; `before` runs outside the time."""
    run()
    times: list[float] = []
    for _ in range(repeats if GPU else 1):
        if before is not None:
            before()
        if GPU:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            begin.record()
            run()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) * 1e3)
        else:
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times)


def graph_of(calls: list[Callable[[], object]]) -> Callable[[], object]:
    """All calls as one graph, like the layers of a step; one after another without a GPU."""

    def body() -> None:
        for call in calls:
            call()

    return cuda_capture(torch.device(DEVICE))(body) if GPU else body


def ceilings() -> Iterator[Row]:
    """Memory and arithmetic at their best, and what one more kernel in a graph costs."""
    num_bytes = 1 << 30 if GPU else 1 << 14
    source, target = (torch.empty(num_bytes, dtype=torch.uint8, device=DEVICE) for _ in range(2))
    yield {"what": "copy", "gb_per_s": 2 * num_bytes / median_us(lambda: target.copy_(source)) / 1e3}
    ones = torch.ones(num_bytes // 2, dtype=torch.bfloat16, device=DEVICE)
    yield {"what": "read", "gb_per_s": ones.nbytes / median_us(lambda: ones.sum()) / 1e3}
    side = 8192 if GPU else 32
    square = torch.randn(side, side, dtype=torch.bfloat16, device=DEVICE)
    yield {"what": "matrix product", "tflop_per_s": 2 * side**3 / median_us(lambda: square @ square) / 1e6}
    one = torch.zeros(1, device=DEVICE)
    for num_kernels in (1, 10, 100):
        us = median_us(graph_of([lambda: one.add_(1)] * num_kernels))
        yield {"what": "graph of small kernels", "kernels": num_kernels, "us": us}


def sweep() -> Iterator[Row]:
    """tree_decode by stages and programs a processor: as the layers of a step, and alone with a cold cache."""
    shape = LayerShape(32, 8, head_dim=128, dtype=DTYPE) if GPU else LayerShape(4, 2, head_dim=32, dtype=DTYPE)
    for name, forest in _forests().items():
        plan = forest.plan(rng=np.random.default_rng(0), room=PAGE)
        num_slots = (int(plan.pages.max()) + 1) * plan.page_size
        # As many layers as keep each other's KV out of the cache.
        num_layers = int(np.clip((200 << 20) / (num_slots * shape.kv_token_bytes), 2, 12)) if GPU else 1
        pools = [
            [kv_pool(num_slots, shape.num_kv_heads, shape.head_dim, dtype=DTYPE, device=DEVICE).normal_() for _ in "kv"]
            for _ in range(num_layers)
        ]
        q = torch.randn(plan.num_rows, shape.num_heads, shape.head_dim, device=DEVICE, dtype=DTYPE)
        options = AttentionOptions(shape.head_dim**-0.5)
        chosen = choose_tile(widest_tree(plan) * shape.group_size, shape.head_dim, DTYPE, arch_of(DEVICE))
        want: torch.Tensor | None = None
        flush = torch.empty(256 << 20 if GPU else 1, dtype=torch.uint8, device=DEVICE)
        for stages in (2, 3, 4) if GPU else (chosen.stages,):
            for per_processor in (1, 2):
                tile = Tile(chosen.block_m, chosen.block_n, chosen.warps, stages, chosen.registers)
                row: Row = {"case": name, "tile": f"{tile.block_m}x{tile.block_n}/{tile.warps}", "stages": stages}
                row |= {"programs_per_processor": per_processor}
                num_spans = max(1, per_processor * programs(DEVICE) // shape.num_kv_heads)
                try:
                    planned = TreeDecode(plan, shape, DEVICE, num_spans=num_spans, tile=tile)
                    out = planned(q, pools[0][0], pools[0][1], options)[0].float()
                    want = out if want is None else want
                    row["error"] = float((out - want).abs().max() / want.abs().max())
                    layers = graph_of([partial(planned, q, k, v, options) for k, v in pools])
                    row["layer_us"] = median_us(layers) / num_layers
                    alone = graph_of([partial(planned, q, pools[0][0], pools[0][1], options)])
                    row["cold_us"] = median_us(alone, before=flush.zero_)
                    kv_bytes = plan.kv_tokens_read_tree * shape.kv_token_bytes
                    row["gb_per_s"] = kv_bytes / row["layer_us"] / 1e3
                except Exception as error:
                    row["failed"] = f"{type(error).__name__}: {error}"[:160]
                yield row


def _forests() -> dict[str, Forest]:
    if not GPU:
        return {"small": star(3, 40, 5)}
    return {
        "10 on 4000+400": star(10, 4_000, 400),
        "50 on 4000+200": star(50, 4_000, 200),
        "1 tree of 10 on 1200+100": star(10, 1_200, 100),
        "64 trees of 10 on 1200+100": several([star(10, 1_200, 100)] * 64),
        "widths 1-4-16-64-256-1024": levels((1, 4, 16, 64, 256, 1024), (256, 8, 256, 64, 32, 256)),
    }


def sampling() -> Iterator[Row]:
    """Both samplers as they run inside a step's graph, by kernels and by torch: all ids, a nucleus, the likeliest few.

    Logits are flat, the kernels' worst case, or peaked as a language model's are: a few ids far above the others.
    """
    vocabulary = 128_256 if GPU else 300
    cuts: dict[str, Row] = {
        "all": {},
        "top_p .9": {"top_p": 0.9},
        "top_k 40": {"top_k": 40},
        "min_p .1": {"min_p": 0.1},
    }
    for num_rows in (8, 64, 256) if GPU else (3,):
        keys = torch.arange(num_rows, device=DEVICE)
        for spread in ("flat", "peaked"):
            logits = torch.randn(num_rows, vocabulary, device=DEVICE)
            if spread == "peaked":
                logits[:, ::1000] += torch.rand(num_rows, len(range(0, vocabulary, 1000)), device=DEVICE) * 20
            logits = logits.to(DTYPE)
            for name, cut in cuts.items():
                how = SamplingRows.of([Sampling(temperature=0.7, **cut)] * num_rows, torch.device(DEVICE))
                draws = [partial(draw, logits, keys, keys + 9, how) for draw in (sample, sample_by_torch)]
                row: Row = {"what": "sample", "rows": num_rows, "logits": spread, "cut": name}
                row["differing"] = int((draws[0]()[0] != draws[1]()[0]).count_nonzero())
                row |= {side: median_us(graph_of([draw])) for side, draw in zip(("us", "torch_us"), draws, strict=True)}
                yield row


class _Letters:
    """A tokenizer without a file: letters are ids."""

    eos_token_id = 63

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:  # noqa: ARG002
        return {"input_ids": [ord(letter) % 60 for letter in text]}

    def decode(self, tokens: list[int], skip_special_tokens: bool = True) -> str:  # noqa: ARG002
        return "x" * len(tokens)


def steps() -> Iterator[Row]:
    """Decode steps of a Llama of 8B parameters with random weights, from graphs and eager: host time a step."""
    large: Row = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8}
    small: Row = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(
        **(large if GPU else small),
        num_hidden_layers=32 if GPU else 1,
        vocab_size=128_256 if GPU else 64,
        max_position_embeddings=8192,
    )
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    with torch.device(DEVICE):
        network = auto.from_config(config, dtype=DTYPE)
    model = LanguageModel(network, _Letters(), "plain")
    model.attention = "triton"
    num_tokens = 60 if GPU else 4
    for fused, num_rows in product((False, True), (8, 64, 256) if GPU else (3,)):
        if fused and not model.fused:
            model.fused = fuse_known("probe", network, gpu_kernels())
        for how in ("graph", "eager") if GPU else ("eager",):
            engine = Engine(model, max_branches=256, prefill_tokens=8192, kv_tokens=65_536 if GPU else 512)
            graphs = engine._step_kinds[0]
            if how == "eager":
                engine._step_kinds = engine._step_kinds[-1:]
            branches = min(num_rows, 8)
            for problem in range(num_rows // branches):
                prompt = Prompt("q" * (300 if GPU else 20), max_tokens=num_tokens, ignore_end=True)
                paths = tuple((rank,) for rank in range(branches))
                engine.submit(Expansion(str(problem), (), prompt, paths, Sampling(temperature=1.0)))
            times = []
            begin = time.perf_counter()
            while engine.busy:
                start = time.perf_counter()
                _, done = engine.step()
                if done is not None and done.num_branches == num_rows:
                    times.append((time.perf_counter() - start) * 1e6)
            row: Row = {"what": "step", "rows": num_rows, "how": how, "fused": model.fused or "off"}
            row |= {"seconds": time.perf_counter() - begin}
            late = times[len(times) // 3 :] or [float("nan")]
            row |= {"p50_us": statistics.median(late), "p90_us": float(np.percentile(late, 90))}
            if isinstance(graphs, GraphSteps) and how == "graph":
                row |= {"captures": graphs.num_captures, "plans": graphs.num_plans, "failure": graphs._failure}
                if graphs._replays and not graphs._failure:
                    row["replay_us"] = median_us(next(iter(graphs._replays.values())))
                row["reserved_gb"] = torch.cuda.memory_reserved() / 1e9
            yield row


SECTIONS = {"ceilings": ceilings, "sampling": sampling, "steps": steps, "sweep": sweep, "graphs": graphs}


def main() -> int:
    """Runs the sections asked for; one that fails says so, and the others go on. The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help="all by default")
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/")
    args = parser.parse_args()
    if unknown := [name for name in args.sections if name not in SECTIONS]:
        parser.error(f"no section {unknown[0]}: there are {', '.join(SECTIONS)}")
    measured: list[Row] = []
    failed = False
    for section in (name for name in SECTIONS if name in (args.sections or SECTIONS)):
        begin = time.monotonic()
        try:
            with torch.inference_mode():
                for row in SECTIONS[section]():
                    measured.append({"section": section, **row})
                    print(section, *(f"{name}={_short(value)}" for name, value in row.items()), flush=True)
        except Exception as error:
            failed = True
            traceback.print_exc(limit=4)
            measured.append({"section": section, "failed": f"{type(error).__name__}: {error}"[:300]})
        print(f"# {section}: {time.monotonic() - begin:.0f} s", flush=True)
    packages = ("torch", "triton", "transformers")
    finish("gpu_probe", {"rows": measured}, packages=packages, record=args.record, show=not args.record, device=DEVICE)
    return 1 if failed else 0


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
