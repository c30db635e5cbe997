"""A plan's work in device memory: one buffer of fixed capacity, so that a captured graph can be replayed over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch

from treereason.kernels.gpu.work import Work
from treereason.kernels.plan import Int32, Plan

# What an advance changes comes first, so that it is one short copy.
_MOVING = ("row_position", "row_slot", "row_page", "page_slot", "page_seen")
_ALIGNMENT = 16 // 4  # elements


@dataclass(frozen=True)
class Capacity:
    """The most entries a buffer holds; a plan that needs more needs a new buffer, and a new capture."""

    rows: int
    pages: int
    blocks: int
    pieces: int
    spans: int
    merges: int

    @staticmethod
    def of(work: Work, least: Capacity | None = None) -> Capacity:
        """Enough for the given work and some growth: counts rounded up to a power of two, the grid of spans as it is.

        least: no count becomes smaller than here.
        """
        num_blocks = len(np.unique(work.piece_lo))
        counts = (len(work.row_position), len(work.page_slot), num_blocks, len(work.piece_lo))
        rows, pages, blocks, pieces = (1 << (count - 1).bit_length() for count in counts)
        if least is not None:
            rows, pages, blocks = max(rows, least.rows), max(pages, least.pages), max(blocks, least.blocks)
            pieces = max(pieces, least.pieces)
        if work.num_spans:  # a cut splits at most one block
            return Capacity(rows, pages, blocks, blocks + work.num_spans, work.num_spans, min(blocks, work.num_spans))
        return Capacity(rows, pages, blocks, pieces, 0, blocks)

    @property
    def partials(self) -> int:
        """Partial results at most: two per span (its first and its last piece), or one per piece."""
        return 2 * self.spans or self.pieces

    def holds(self, work: Work) -> bool:
        """Whether the work fits in a buffer of this capacity."""
        return (
            len(work.row_position) <= self.rows
            and len(work.page_slot) <= self.pages
            and len(work.piece_lo) <= self.pieces
            and work.num_spans <= self.spans
            and len(work.merge_lo) <= self.merges
        )

    def lengths(self) -> dict[str, int]:
        """Elements of every array of Work, by name, in the order of the buffer.

        Every array begins at a multiple of 16 bytes: a kernel is compiled anew for each pattern of aligned pointers.
        """
        rows = dict.fromkeys(("row_position", "row_slot", "row_page", "row_last_page"), self.rows)
        pages = dict.fromkeys(("page_slot", "page_seen", "page_start"), self.pages)
        names = ("piece_lo", "piece_hi", "piece_first", "piece_mixed", "piece_last", "piece_partial")
        pieces = dict.fromkeys(names, self.pieces)
        spans = {"span_piece": self.spans + 1}
        merges = {"merge_count": 1, "merge_lo": self.merges, "merge_hi": self.merges, "merge_partial": self.merges + 1}
        lengths = rows | pages | pieces | spans | merges
        order = (*_MOVING, *(name for name in lengths if name not in _MOVING))
        return {name: -(-lengths[name] // _ALIGNMENT) * _ALIGNMENT for name in order}


class DeviceWork:
    """Device int32 tensors named as Work's arrays; past a work's length lie empty pieces, empty merges, row_slot -1."""

    def __init__(self, capacity: Capacity, device: torch.device | str) -> None:
        self.capacity = capacity
        lengths = capacity.lengths()
        self._moving = sum(lengths[name] for name in _MOVING)
        on_gpu = torch.device(device).type == "cuda"
        self._host = torch.zeros(sum(lengths.values()), dtype=torch.int32, pin_memory=on_gpu)
        self._buffer = torch.zeros(len(self._host), dtype=torch.int32, device=device)
        self._sent = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]
        parts = list(lengths.values())
        self._views = dict(zip(lengths, (a.numpy() for a in torch.split(self._host, parts)), strict=True))
        self._tensors = dict(zip(lengths, torch.split(self._buffer, parts), strict=True))

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    @property
    def tensors(self) -> Mapping[str, torch.Tensor]:
        """All of them by name."""
        return self._tensors

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return self._buffer.nbytes

    def load(self, work: Work) -> None:
        """Copies everything, once per rebuild; ValueError when it exceeds the capacity."""
        if not self.capacity.holds(work):
            raise ValueError(f"work exceeds the buffer's {self.capacity}")
        self._wait()
        for field in fields(work):
            if field.name in self._views:
                array = getattr(work, field.name)
                self._views[field.name][: len(array)] = array
        for name in ("span_piece", "merge_partial"):
            self._views[name][len(getattr(work, name)) :] = getattr(work, name)[-1]
        for name in ("piece_first", "piece_last"):
            self._views[name][len(work.piece_first) :] = 0
        self._views["row_slot"][len(work.row_slot) :] = -1  # store_kv drops padding rows
        self._send(len(self._host))

    def load_advanced(self, work: Work) -> None:
        """Copies what `Work.advance` changed."""
        self._wait()
        for name in _MOVING:
            array = getattr(work, name)
            self._views[name][: len(array)] = array
        self._send(self._moving)

    def _wait(self) -> None:
        # The last copy may still lie behind a step on the device: its source must not change before.
        if self._sent is not None:
            self._sent.synchronize()

    def _send(self, count: int) -> None:
        self._buffer[:count].copy_(self._host[:count], non_blocking=True)
        if self._sent is not None:
            self._sent.record()


class PlannedWork:
    """The work of one plan for each attention window that layers have, on the host and on the device.

    make: cuts a plan for a window. least: no buffer is made smaller.
    """

    def __init__(
        self,
        plan: Plan,
        make: Callable[[Plan, int | None], Work],
        windows: tuple[int | None, ...],
        device: torch.device | str,
        least: Capacity | None = None,
    ) -> None:
        self._make = make
        self.host = {window: make(plan, window) for window in windows}
        self.device = {window: DeviceWork(Capacity.of(work, least), device) for window, work in self.host.items()}
        self._copy()

    def load(self, plan: Plan) -> None:
        """A new plan in the same buffers; ValueError when it exceeds them."""
        if not self.load_if_it_fits(plan):
            raise ValueError("the plan exceeds its buffers' capacity")

    def load_if_it_fits(self, plan: Plan) -> bool:
        """As `load`; False, and nothing is changed, when the plan exceeds the buffers."""
        host = {window: self._make(plan, window) for window in self.host}
        if not all(self.device[window].capacity.holds(work) for window, work in host.items()):
            return False
        self.host = host
        self._copy()
        return True

    def advance(self, row_pages: Int32 | None = None) -> None:
        """One more token per branch, as `Work.advance`: row_pages [N], NoPageLeft."""
        for window, work in self.host.items():
            work.advance(row_pages)
            self.device[window].load_advanced(work)

    def _copy(self) -> None:
        for window, work in self.host.items():
            self.device[window].load(work)
