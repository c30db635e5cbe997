"""What is known about a kernel without running it: bytes moved, registers, spills and shared memory."""
