"""Tasks: what a problem is, how it is put to a model, and how an answer is scored."""
