"""What a plan costs on the host: microseconds per rebuild (on fork and prune) and per advance (between them).

python -m benchmarks.planning
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.forests import several, star
from treereason.kernels.cpu.torch_backend import TorchBackend
from treereason.kernels.gpu.make_work import make_work
from treereason.kernels.gpu.tree_decode import TreeDecode
from treereason.kernels.layer import LayerShape
from treereason.kernels.plan import Plan, make_plan
from treereason.kernels.tools.traffic import floor_seconds


def microseconds(run: Callable[[], object], *, repeats: int = 15) -> float:
    """Median after one warm-up."""
    run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6


def costs(trees: int, branches: int, device: str, *, prompt: int = 1_200, own: int = 100) -> dict[str, float]:
    """Rebuild, copy to the device, and advance, for `trees` prompts of `branches` branches each (32/8 heads, D 128)."""
    arrays = several([star(branches, prompt, own)] * trees).arrays(room=64)
    plan = make_plan(**arrays)
    shape = LayerShape(num_heads=32, num_kv_heads=8, head_dim=128, dtype=torch.bfloat16)
    planned = TreeDecode(plan, shape, device, num_spans=16)
    work = planned.work.host[None]

    def rebuild() -> Plan:
        new = make_plan(**arrays)
        make_work(new, block_rows=planned.tile.rows(4), tile_pages=planned.tile.pages(new.page_size), num_spans=16)
        return new

    return {
        "rebuild": microseconds(rebuild),
        "rebuild_and_copy": microseconds(lambda: planned.work.load(make_plan(**arrays))),
        "advance": microseconds(work.advance, repeats=8),
        "advance_and_copy": microseconds(planned.work.advance, repeats=8),
        "floor": floor_seconds(plan, shape, bandwidth=3.35e12, rate=989e12) * 1e6,
        "torch": microseconds(lambda: TorchBackend(plan), repeats=3) if trees * branches <= 4096 else float("nan"),
    }


def main() -> None:
    """Prints the table."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"microseconds, median; copies go to {device}; blocks of 32 rows, KV tiles of 64 tokens, 16 spans")
    print("floor: one layer's attention of the step it serves (32/8 heads, D 128, 16 bit) at 3.35 TB/s, 989 Tflop/s")
    columns = ("trees", "branches", "rebuild", "+ copy", "advance", "+ copy", "floor", "torch")
    print(" ".join(f"{column:>10}" for column in columns))
    for trees in (1, 64):
        for branches in (10, 64, 512):
            cost = costs(trees, branches, device)
            print(" ".join(f"{value:10.0f}" for value in (trees, branches, *cost.values())))


if __name__ == "__main__":
    main()
