"""The tree-search controller: drives the searches of all problems over one engine."""
