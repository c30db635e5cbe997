"""Tree attention as Triton kernels: the work cut from a plan, its copy on the device, and the kernels that walk it."""
