"""The checked configuration of a run, and the tasks, searches and scorers it names."""
