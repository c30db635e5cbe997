"""Speculative decoding: who proposes tokens, into how many rows of a step, and which of them are taken."""
