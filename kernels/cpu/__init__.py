"""Tree attention on plain torch operations, for processors without an accelerator."""
