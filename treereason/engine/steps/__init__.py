"""How a step is computed: eagerly, or from a captured CUDA graph; and how its tokens are sampled."""
