"""What a run leaves behind: the event journal and the summary."""
