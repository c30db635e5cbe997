"""Attention over the token forest, and the one door to the kernels: only this folder imports them."""
