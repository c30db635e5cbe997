"""Scores thoughts, in a process that may be killed."""
