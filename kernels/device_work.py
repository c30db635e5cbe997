"""A plan's work in device memory: one buffer of fixed capacity, so that a captured graph can be replayed over it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from treereason.kernels.work import Work

# What an advance changes comes first, so that it is one short copy.
_MOVING = ("row_position", "row_slot", "row_page", "page_tokens")


@dataclass(frozen=True)
class Capacity:
    """The most a buffer holds; a plan that needs more needs a new buffer, and a new capture."""

    rows: int
    pages: int
    blocks: int
    tiles: int
    pieces: int
    spans: int

    @staticmethod
    def of(work: Work) -> Capacity:
        """Room for the given work and some growth: each count rounded up to a power of two, spans kept."""
        counts = (work.row_position, work.page, work.block_lo, work.tile_first, work.piece_block)
        return Capacity(*(1 << (len(a) - 1).bit_length() for a in counts), spans=len(work.span_piece) - 1)

    def holds(self, work: Work) -> bool:
        return (
            len(work.row_position) <= self.rows
            and len(work.page) <= self.pages
            and len(work.block_lo) <= self.blocks
            and len(work.tile_first) <= self.tiles
            and len(work.piece_block) <= self.pieces
            and len(work.span_piece) - 1 <= self.spans
        )

    def lengths(self) -> dict[str, int]:
        rows = dict.fromkeys(("row_position", "row_slot", "row_page", "row_last_page"), self.rows)
        pages = dict.fromkeys(("page", "page_tokens", "page_start", "page_lo", "page_hi"), self.pages)
        blocks = dict.fromkeys(("block_lo", "block_hi"), self.blocks)
        tiles = dict.fromkeys(("tile_first", "tile_last"), self.tiles)
        names = ("piece_block", "piece_first", "piece_mixed", "piece_last", "piece_slot")
        pieces = dict.fromkeys(names, self.pieces)
        # A cut between two spans splits at most one block.
        spans = {"span_piece": self.spans + 1, "merge_block": self.spans, "merge_slot": self.spans + 1}
        lengths = rows | pages | blocks | tiles | pieces | spans
        return {name: lengths[name] for name in (*_MOVING, *(n for n in lengths if n not in _MOVING))}


class DeviceWork:
    """Device int32 tensors named as Work's arrays. Beyond a work's own length: no pieces, no merges, old values."""

    def __init__(self, capacity: Capacity, device: torch.device | str) -> None:
        self.capacity = capacity
        lengths = capacity.lengths()
        self._moving = sum(lengths[name] for name in _MOVING)
        self._host = torch.zeros(sum(lengths.values()), dtype=torch.int32)
        self._buffer = torch.zeros_like(self._host, device=device)
        parts = list(lengths.values())
        self._views = dict(zip(lengths, (a.numpy() for a in self._host.split(parts)), strict=True))
        self._tensors = dict(zip(lengths, self._buffer.split(parts), strict=True))

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    @property
    def nbytes(self) -> int:
        return self._buffer.nbytes

    def load(self, work: Work) -> None:
        """Copies everything, once a rebuild."""
        if not self.capacity.holds(work):
            raise ValueError(f"work exceeds the buffer's {self.capacity}")
        for field in fields(work):
            if field.name in self._views:
                array = getattr(work, field.name)
                self._views[field.name][: len(array)] = array
        for name in ("span_piece", "merge_slot"):
            self._views[name][len(getattr(work, name)) :] = getattr(work, name)[-1]
        self._buffer.copy_(self._host)

    def load_advanced(self, work: Work) -> None:
        """Copies what `Work.advance` changed."""
        for name in _MOVING:
            array = getattr(work, name)
            self._views[name][: len(array)] = array
        self._buffer[: self._moving].copy_(self._host[: self._moving])
