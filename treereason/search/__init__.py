"""Search algorithms: coroutines over five primitives (expand, score, keep, join, probe)."""
