"""What goes into a captured step and comes out of it: device memory at fixed addresses, each with a host twin."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from treereason.core import Sampling
from treereason.engine.steps.sampling_rows import Cuts, SamplingRows

# _GOES_ON is 1 but for padding. From the last on: temperature and top_p, min_p and top_k, in halves.
_TOKEN, _POSITION, _KEY, _GOES_ON, _SAMPLING = range(5)
_NUM_COLUMNS = 6


class StepBuffers:
    """One copy carries all inputs to the device, one carries all outputs back. Two steps may be on their way back.

    Rows past those given are padding: any token at position 0, drawn at temperature 0.
    """

    def __init__(self, num_rows: int, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self._host_in = torch.zeros(num_rows, _NUM_COLUMNS, dtype=torch.int64, pin_memory=on_gpu)
        self._host_outs = [torch.zeros(num_rows, 2, dtype=torch.float64, pin_memory=on_gpu) for _ in range(2)]
        self._last = 0
        self._in = torch.zeros(num_rows, _NUM_COLUMNS, dtype=torch.int64, device=device)
        self._out = torch.zeros(num_rows, 2, dtype=torch.float64, device=device)
        self._written = [torch.cuda.Event() for _ in range(2)] if on_gpu else []  # type: ignore[no-untyped-call]
        self._numbers = self._host_in.numpy()
        self._floats = self._host_in.view(torch.float32).numpy()[:, 2 * _SAMPLING :]
        self._ints = self._host_in.view(torch.int32).numpy()[:, 2 * _SAMPLING :]

    def place(self, keys: Sequence[int], samplings: Sequence[Sampling]) -> None:
        """Which branch is in which row, until the next call; `send` brings it to the device."""
        count = len(keys)
        self._numbers[count:] = 0
        self._numbers[:count, _KEY] = keys
        self._numbers[:count, _GOES_ON] = 1
        self._floats[count:, 1] = 1.0
        self._floats[:count, 0] = [sampling.temperature for sampling in samplings]
        self._floats[:count, 1] = [sampling.top_p for sampling in samplings]
        self._floats[:count, 2] = [sampling.min_p for sampling in samplings]
        self._ints[:count, 3] = [sampling.top_k for sampling in samplings]

    def send(self, tokens: Sequence[int], positions: Sequence[int], num_rows: int) -> None:
        """Copy the inputs of the first num_rows rows. The step that they were last copied for must have been read."""
        self._numbers[: len(tokens), _TOKEN] = tokens
        self._numbers[: len(tokens), _POSITION] = positions
        self._in[:num_rows].copy_(self._host_in[:num_rows], non_blocking=True)

    def feed(self, num_rows: int) -> None:
        """Make the outputs of the last step the inputs of the next, on the device: rows stay where they are."""
        rows = self._in[:num_rows]
        rows[:, _TOKEN].copy_(self._out[:num_rows, 0])
        rows[:, _POSITION].add_(rows[:, _GOES_ON])

    def inputs(self, num_rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Views of the device's token ids, their positions, and keys, [num_rows] int64."""
        rows = self._in[:num_rows]
        return rows[:, _TOKEN], rows[:, _POSITION], rows[:, _KEY]

    def sampling(self, num_rows: int, cuts: Cuts) -> SamplingRows:
        """Views of the device's sampling of each row. cuts: what the rows may leave out, at most."""
        floats, ints = (self._in.view(dtype)[:num_rows, 2 * _SAMPLING :] for dtype in (torch.float32, torch.int32))
        return SamplingRows(floats[:, 0], floats[:, 1], floats[:, 2], ints[:, 3], cuts)

    def put(self, tokens: torch.Tensor, logprobs: torch.Tensor) -> None:
        """Leave the outputs of the first B rows on the device: [B] int64 and float32, both exact in float64."""
        for column, values in enumerate((tokens, logprobs)):
            self._out[: len(tokens), column].copy_(values)

    def fetch(self, num_rows: int) -> int:
        """Start to copy the outputs to the host. Returns what `read` is to be asked for, before the call after next."""
        self._last = 1 - self._last
        self._host_outs[self._last][:num_rows].copy_(self._out[:num_rows], non_blocking=True)
        if self._written:
            self._written[self._last].record()
        return self._last

    def read(self, fetched: int, num_rows: int) -> tuple[list[int], list[float]]:
        """Wait for what `fetch` started: tokens and log-probabilities."""
        if self._written:
            self._written[fetched].synchronize()
        tokens, logprobs = self._host_outs[fetched][:num_rows].T.tolist() if num_rows else ([], [])
        return [int(token) for token in tokens], logprobs
