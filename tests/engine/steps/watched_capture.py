"""A capture under watch: what a captured step may not do is refused while it runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from treereason.engine.steps.cuda_capture import Body, Capture


class NothingFromTheHost(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses what a captured step may not do: wait for a value, or make a tensor of host data."""

    REFUSED = ("_local_scalar_dense", "item", "lift_fresh", "nonzero", "masked_select", "is_nonzero", "equal", "unique")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masked = name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        moved = name == "_to_copy" and (kwargs or {}).get("device") is not None
        if masked or moved or name.startswith(self.REFUSED):
            raise AssertionError(f"{func} in a captured step")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Capture:
    """A capture that runs the step once more under watch, with the kernels' interpreter out of the way."""
    from triton.runtime import interpreter

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a tensor's values, or one of host data, in a captured step")

    def capture(body: Body) -> Body:
        body()
        with monkeypatch.context() as patch:
            patch.setattr(interpreter.GridExecutor, "__call__", lambda *_, **__: None)
            for name in ("cpu", "cuda", "tolist", "numpy", "item"):
                patch.setattr(torch.Tensor, name, refuse)
            for name in ("tensor", "as_tensor", "from_numpy"):
                patch.setattr(torch, name, refuse)
            with NothingFromTheHost():  # type: ignore[no-untyped-call]
                body()
        return body

    return capture
