"""Which leaves of a tree are worth the KV on the paths to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from treereason.core import Thought


def best_leaves(
    worth: Mapping[Thought, float], kv_tokens: Callable[[Sequence[Thought]], int], price: float
) -> list[Thought]:
    """The leaves S, at least one, that maximise the sum of their `worth` less `price` times the share of KV they hold.

    kv_tokens: what the paths to some leaves hold together; the share is of what all hold. Exact: the KV of a thought is
    paid once for all leaves below it, so from the ends to the root the best choice below each thought is found for
    itself.
    """
    total = kv_tokens(list(worth))

    @cache
    def held_by(leaves: frozenset[Thought]) -> int:
        """What no other leaf's path holds."""
        return total - kv_tokens([leaf for leaf in worth if leaf not in leaves])

    gain, chosen = dict(worth), {leaf: [leaf] for leaf in worth}
    below = {leaf: frozenset([leaf]) for leaf in worth}
    children = defaultdict[Thought, list[Thought]](list)
    nodes = dict.fromkeys(node for leaf in worth for node in leaf.ancestors())
    for node in sorted(nodes, key=lambda node: (-node.depth, node.path)):
        if made := children[node]:
            going = [child for child in made if gain[child] > 0] or [max(made, key=gain.__getitem__)]
            gain[node] = sum(gain[child] for child in going)
            chosen[node] = [leaf for child in going for leaf in chosen[child]]
            below[node] = frozenset[Thought]().union(*(below[child] for child in made))
        own = held_by(below[node]) - sum(held_by(below[child]) for child in made)
        gain[node] -= price * own / max(1, total)
        if node.parent is not None:
            children[node.parent].append(node)
    return next((chosen[node] for node in nodes if node.parent is None), [])
