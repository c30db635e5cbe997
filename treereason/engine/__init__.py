"""The engine: a transformers model decoding all branches of all problems over one token forest."""
