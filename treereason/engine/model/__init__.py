"""A transformers model: what can be served, how it is loaded, how it is called."""
