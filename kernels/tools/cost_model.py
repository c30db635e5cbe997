"""How long a kernel takes on a device that need not be there: launches, waves, tiles, exposed latency, bytes.

A kernel is a list of programs in the order of its grid, and they go to whichever processor is free first, so that
waves and tails come out of the list. A processor that holds several is done no sooner than it has been busy with each,
nor than latency lets each be; nor is any program done sooner than alone. Memory and L2 bandwidth bound the whole from
below. Every constant says where it is from:

    review    the emitted code read without a GPU (docs/kernels.md): instructions, cycles by an in-order scoreboard
    datasheet the vendor's
    measured  a row of benchmarks/results/, its device and date
    assumed   nobody's; a guess
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]

# Cycles of a load that hits the L2 cache, and of one that goes to memory. Review: 674 for two L2 latencies, and about
# 1,000 exposed a tile, which is a page number out of L2 and then KV out of memory.
L2_LATENCY = 337
MEMORY_LATENCY = 663
# A kernel inside a CUDA graph. Measured, H200, 2026-11-26: 10 tiny kernels 16.26 us, 100 of them 114.43 us.
LAUNCH_SECONDS = (114.43e-6 - 16.26e-6) / 90
# What two events around a replay add. The same measurement: what is left of 100 kernels without their launches. One
# kernel alone took 15.5 us there, but nothing hid the host; a row of tree_attention flushes the cache meanwhile.
REPLAY_SECONDS = 114.43e-6 - 100 * LAUNCH_SECONDS


@dataclass(frozen=True)
class Device:
    """arch: whose tile shapes it gets. Bandwidths are what a kernel reaches, in bytes per second."""

    name: str
    arch: str
    processors: int
    hertz: float
    memory_bandwidth: float
    l2_bandwidth: float
    rate: float


DEVICES = {
    # Processors and dense 16-bit rate: datasheet. Clock: review. Memory: review, 0.9 of the datasheet's 3.35 TB/s.
    # L2: as on the H200, whose processors are the same.
    "H100": Device("H100", "sm_90", 132, 1.755e9, 3.0e12, 7.2e12, 989e12),
    # Measured, 2026-11-26. Memory: a read of everything (datasheet 4.8 TB/s; one row, tree_extend on six levels at
    # 32/32, reaches 4.3). L2: the row that loads most per second (sequence, 1,1024 / 2048,32, 32/32: 34.9 GB in
    # 4,873 us), so a lower bound.
    "H200": Device("H200", "sm_90", 132, 1.755e9, 3.955e12, 7.2e12, 989e12),
    # Datasheet; memory at the 0.9 of the H100, L2 at 24 bytes a cycle and processor, an assumption.
    "A100": Device("A100", "sm_80", 108, 1.41e9, 1.83e12, 3.6e12, 312e12),
}


@dataclass(frozen=True)
class TileCost:
    """Cycles for 64 tokens of KV against one query tile.

    alone, alone_masked: of a program that has its processor to itself, KV coming from memory.
    busy, busy_masked: what the processor cannot give to another program meanwhile.
    resident: programs a processor holds. overlapped: whether the next tile's copies run under this one's arithmetic,
        so that latency is hidden.
    """

    alone: float
    alone_masked: float
    busy: float
    busy_masked: float
    resident: int
    overlapped: bool = False

    def tile_cycles(self, mask: bool, company: int, l2_share: float) -> float:
        """What a processor takes for it with `company` programs at once, `l2_share` of the KV out of the L2 cache."""
        alone, busy = (self.alone_masked, self.busy_masked) if mask else (self.alone, self.busy)
        saved = 0 if self.overlapped else l2_share * (MEMORY_LATENCY - L2_LATENCY)
        return max((alone - saved) / company, busy)


@dataclass(frozen=True)
class Launch:
    """One kernel. All arrays have one entry per program of a KV head, in grid order.

    plain, masked: KV in units of 64 tokens, by whether its scores are masked. fixed: cycles beside the tiles.
    heads: times the list is repeated. memory_bytes, loaded_bytes: from memory, and through the L2 cache.
    """

    tile: TileCost
    plain: npt.NDArray[np.number]
    masked: npt.NDArray[np.number]
    fixed: npt.NDArray[np.number]
    heads: int
    memory_bytes: float = 0.0
    loaded_bytes: float = 0.0

    def seconds(self, device: Device) -> float:
        """Until its last program is done, the launch itself included."""
        programs = len(self.plain) * self.heads
        if not programs:
            return LAUNCH_SECONDS
        company = min(self.tile.resident, -(-programs // device.processors))
        l2_share = 1 - min(1.0, self.memory_bytes / self.loaded_bytes) if self.loaded_bytes else 0.0
        cycles, alone = self._cycles(company, l2_share), self._cycles(1, l2_share)
        busy = max(makespan(np.tile(cycles, self.heads), device.processors), float(alone.max())) / device.hertz
        bytes_seconds = max(self.memory_bytes / device.memory_bandwidth, self.loaded_bytes / device.l2_bandwidth)
        return LAUNCH_SECONDS + max(busy, bytes_seconds)

    def _cycles(self, company: int, l2_share: float) -> Float:
        plain, masked = (self.tile.tile_cycles(mask, company, l2_share) for mask in (False, True))
        cycles: Float = np.asarray(self.plain * plain + self.masked * masked + self.fixed / company, dtype=np.float64)
        return cycles


def makespan(durations: npt.NDArray[np.number], places: int) -> float:
    """When the last of `durations` ends, if each starts in list order where a place is free first."""
    if len(durations) <= places:
        return float(durations.max())
    if np.ptp(durations) == 0:
        return float(durations[0]) * -(-len(durations) // places)
    free = [0.0] * places
    end = 0.0
    for duration in durations.tolist():
        end = max(end, heapq.heappushpop(free, free[0] + duration) + duration)
    return end


def call_seconds(launches: Sequence[Launch], device: Device, *, replay: float = 0.0) -> float:
    """One attention call, kernel after kernel. replay: what the measurement adds, REPLAY_SECONDS for its rows."""
    return replay + sum(launch.seconds(device) for launch in launches)
