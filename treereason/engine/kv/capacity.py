"""How many tokens of KV fit into the memory that is free."""

from __future__ import annotations

from pathlib import Path

import torch

MAX_KV_TOKENS = 128 * 1024
KV_SHARE_OF_MEMORY = 0.25


def default_kv_tokens(device: torch.device, bytes_per_token: int) -> int:
    """A quarter of the device's free memory, in tokens; at least 1, at most MAX_KV_TOKENS."""
    free_bytes = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_memory_bytes()
    return max(1, min(MAX_KV_TOKENS, int(free_bytes * KV_SHARE_OF_MEMORY) // bytes_per_token))


def _free_memory_bytes() -> int:
    """Memory that new allocations can have without swapping (Linux); 4 GiB where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 4 * 1024**3
