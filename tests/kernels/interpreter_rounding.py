"""Triton's interpreter (3.6, 3.7) cuts float32 to bfloat16, and a GPU rounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch


def round_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the interpreter round to the nearest, ties to even."""
    from triton import language as tl
    from triton.runtime import interpreter

    convert = interpreter._convert_float

    def rounded(values: Any, of: Any, to: Any, rounding_mode: Any) -> Any:
        if of != tl.float32 or to != tl.bfloat16:
            return convert(values, of, to, rounding_mode)
        exact = torch.from_numpy(np.array(values, dtype=np.float32))
        return exact.bfloat16().view(torch.int16).numpy().view(np.uint16)

    monkeypatch.setattr(interpreter, "_convert_float", rounded)
