"""The algorithms of the papers, stated anew over paths and numbers: what the searches are compared with.

The scripted tree: every thought has `k` children or as many as are asked for, and an answer after `steps` thoughts. A
thought's value is a function of its path.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import chain, combinations
from math import exp, inf, log, sqrt
from random import Random

from treereason.core import ThoughtPath

Value = Callable[[ThoughtPath], float]


def values(seed: int) -> Value:
    """Numbers that depend on seed and path alone; hardly two are equal, and none is 9, which is final."""
    return lambda path: float(Random(f"{seed}/{path}").randrange(1_000, 10_000))


def best(paths: list[ThoughtPath], value: Value) -> ThoughtPath:
    return min(paths, key=lambda path: (-value(path), path))


class Tree:
    """Hands out children in the order in which they are asked for, and remembers who was expanded."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.num_children = Counter[ThoughtPath]()
        self.expanded: list[tuple[ThoughtPath, int]] = []

    def grow(self, path: ThoughtPath, k: int) -> list[ThoughtPath]:
        first = self.num_children[path]
        self.num_children[path] += k
        self.expanded.append((path, k))
        return [(*path, first + i) for i in range(k)]

    def whole(self, path: ThoughtPath) -> bool:
        return len(path) == self.steps


def beam(value: Value, steps: int, n: int, beam_width: int) -> tuple[Tree, ThoughtPath]:
    tree, answers, front = Tree(steps), list[ThoughtPath](), list[ThoughtPath]([()])
    for step in range(steps):
        below = [child for path in front for child in tree.grow(path, n if step == 0 else beam_width)]
        front = sorted(below, key=lambda path: (-value(path), path))[: n // beam_width]
        answers += [path for path in below if tree.whole(path)]
    return tree, best(answers, value)


def rebase(value: Value, steps: int, width: int, balance: float) -> tuple[Tree, list[ThoughtPath]]:
    tree, whole = Tree(steps), list[ThoughtPath]()
    shares: dict[ThoughtPath, int] = {(): width}
    while shares:
        below = [child for path, share in shares.items() if share for child in tree.grow(path, share)]
        whole += [path for path in below if tree.whole(path)]
        going = [path for path in below if not tree.whole(path)]
        total = sum(exp(value(path) / balance) for path in going)
        left = width - len(whole)
        shares = {path: round(left * exp(value(path) / balance) / total) for path in going}
        if not any(shares.values()):
            break
    return tree, whole


def mcts(
    value: Value, steps: int, n_iters: int, k: int, c: float, policy: str = "uct", backup: str = "mean"
) -> tuple[Tree, ThoughtPath]:
    """By recursion. All thoughts are equally likely, so a prior is 1 / k."""
    tree, known = Tree(steps), dict[ThoughtPath, list[ThoughtPath]]()
    seen = defaultdict[ThoughtPath, list[float]](list)

    def quality(path: ThoughtPath) -> float:
        return max(seen[path]) if backup == "max" else sum(seen[path]) / len(seen[path])

    def bound(path: ThoughtPath) -> float:
        above, n = len(seen[path[:-1]]), len(seen[path])
        if policy == "puct":
            return quality(path if n else path[:-1]) + c / k * sqrt(above) / (1 + n)
        return quality(path) + c * sqrt(log(above) / n) if n else inf

    def descend(path: ThoughtPath) -> float:
        if path not in known:
            known[path] = [] if tree.whole(path) else tree.grow(path, k)
            reward = descend(best(known[path], value)) if known[path] else value(path)
        elif not known[path]:
            reward = value(path)
        else:
            reward = descend(max(known[path], key=lambda child: (bound(child), value(child))))
        seen[path].append(reward)
        return reward

    for _ in range(n_iters):
        descend(())
    return tree, best([path for path in known if tree.whole(path)], value)


def depth_first(value: Value, steps: int, k: int, v_th: float, n_iters: int) -> tuple[Tree, ThoughtPath | None]:
    """The paper's recursion, with a counter of expansions."""
    tree, answers = Tree(steps), list[ThoughtPath]()

    def dfs(path: ThoughtPath) -> None:
        if len(tree.expanded) == n_iters:
            return
        below = tree.grow(path, k)
        answers.extend(child for child in below if tree.whole(child))
        for child in sorted(below, key=lambda child: (-value(child), child)):
            if value(child) >= v_th and not tree.whole(child):
                dfs(child)

    dfs(())
    return tree, best(answers, value) if answers else None


def ab_mcts(value: Value, steps: int, n_iters: int, draw: Callable[[list[float]], float]) -> list[ThoughtPath]:
    """The thoughts that are made, in order, children of steps that are followed to an answer included."""
    tree, order = Tree(steps), list[ThoughtPath]()
    nodes: dict[ThoughtPath, list[ThoughtPath]] = {(): []}
    generated, continued, own = (defaultdict[ThoughtPath, list[float]](list) for _ in range(3))
    for _ in range(n_iters):
        path: ThoughtPath = ()
        while True:
            generate, go_on = draw(generated[path]), draw(continued[path])
            if generate >= go_on or not nodes[path]:
                break
            path = max(nodes[path], key=lambda child: draw(own[child]))
        made, reward = list[ThoughtPath](), value(path)
        while not tree.whole(made[-1] if made else path):
            made += tree.grow(made[-1] if made else path, 1)
        if made:
            reward = value(made[-1])
            nodes[path].append(made[0])
            nodes[made[0]] = []
            generated[path].append(reward)
            own[made[0]].append(reward)
        order += made
        for depth in range(len(path), 0, -1):
            own[path[:depth]].append(reward)
            continued[path[: depth - 1]].append(reward)
    return order


def tree_of_thoughts(value: Value, steps: int, k: int, b: int) -> tuple[Tree, ThoughtPath]:
    """Algorithm 1 with G = k samples and V = a value of each."""
    tree, answers, front = Tree(steps), list[ThoughtPath](), list[ThoughtPath]([()])
    for _ in range(steps):
        below = [child for path in front for child in tree.grow(path, k)]
        front = sorted(below, key=lambda path: (-value(path), path))[:b]
        answers += [path for path in below if tree.whole(path)]
    return tree, best(answers, value)


def tree_of_proposals(
    value: Value, proposals: Callable[[ThoughtPath], Sequence[str]], steps: int, k: int, b: int
) -> list[ThoughtPath]:
    """Algorithm 1 with G = a propose prompt: the thoughts kept at each step. The first child holds the proposals."""
    kept, front = list[ThoughtPath](), list[ThoughtPath]([()])
    for _ in range(steps):
        below = list[ThoughtPath]()
        for path in front:
            different = len(dict.fromkeys(proposals((*path, 0))))
            below += [(*path, 1 + rank) for rank in range(min(k, different))]
        front = sorted(below, key=lambda path: (-value(path), path))[:b]
        kept += front
    return kept


def tree_by_votes(
    ballot: Callable[[ThoughtPath, int], int | None], steps: int, k: int, b: int, n_vote: int
) -> tuple[Tree, list[ThoughtPath]]:
    """Algorithm 1 with V = n votes on all candidates of a step, which are children of the first one."""
    tree, kept, front = Tree(steps), list[ThoughtPath](), list[ThoughtPath]([()])
    for _ in range(steps):
        below = [child for path in front for child in tree.grow(path, k)]
        votes = Counter(ballot(path, len(below)) for path in tree.grow(below[0], n_vote))
        front = sorted(below, key=lambda path: (-votes[below.index(path)], path))[:b]
        kept += front
    return tree, kept


def ets(
    value: Value, steps: int, width: int, balance: float, lambda_b: float, lambda_d: float, tokens: int
) -> tuple[Tree, list[ThoughtPath]]:
    """Every set of leaves is tried. All texts differ; a thought holds `tokens`. Returns the whole answers as well."""
    tree, whole = Tree(steps), list[ThoughtPath]()
    shares: dict[ThoughtPath, int] = {(): width}
    while shares:
        below = [child for path, share in shares.items() if share for child in tree.grow(path, share)]
        whole += [path for path in below if tree.whole(path)]
        leaves = [path for path in below if not tree.whole(path)]

        def held(paths: Sequence[ThoughtPath]) -> int:
            return tokens * len({path[: i + 1] for path in paths for i in range(len(path))})

        def objective(paths: Sequence[ThoughtPath], leaves: Sequence[ThoughtPath] = leaves) -> float:
            gained = sum(exp(value(path) / balance) for path in paths)
            gained /= sum(exp(value(path) / balance) for path in leaves)
            return gained - lambda_b * held(paths) / held(leaves) + lambda_d * len(paths) / len(leaves)

        subsets = chain.from_iterable(combinations(leaves, size + 1) for size in range(len(leaves)))
        kept = max(subsets, key=objective, default=())
        total = sum(exp(value(path) / balance) for path in kept)
        left = width - len(whole)
        shares = {path: round(left * exp(value(path) / balance) / total) for path in kept}
        if not any(shares.values()):
            break
    return tree, whole


def sorting_graph(value: Value, k: int, num_merged: int, num_improved: int) -> tuple[list[ThoughtPath], ThoughtPath]:
    """The plan for sorting, written out: the thoughts in the order in which they are made, and the best answer."""
    tree = Tree(steps=9)
    left, right = tree.grow((), k), tree.grow((), k)
    above = best(left, value)
    merged = tree.grow(above, num_merged)
    improved = tree.grow(best(merged, value), num_improved)
    return [*left, *right, *merged, *improved], best([*merged, *improved], value)


def merging_graph(value: Value) -> tuple[list[ThoughtPath], ThoughtPath]:
    """The plan for document merging: generate 5, keep 3, aggregate 5, keep 1 of all, improve 10, keep 1 of all."""
    tree = Tree(steps=9)
    drafts = tree.grow((), 5)
    kept = sorted(drafts, key=lambda path: (-value(path), path))[:3]
    joined = tree.grow(kept[0], 5)
    improved = tree.grow(best([*kept, *joined], value), 10)
    return [*drafts, *joined, *improved], best([*drafts, *joined, *improved], value)


def successive_halving(
    texts: dict[ThoughtPath, str], loss: Callable[[str], float], eta: int, chunk: int
) -> tuple[list[ThoughtPath], ThoughtPath]:
    """Arms pulled `chunk` tokens at a time, one letter each. Returns the arms that are left, and the best of them."""
    arms, pulled = sorted(texts), chunk
    while any(len(texts[arm]) > pulled for arm in arms):
        ranked = sorted(arms, key=lambda arm: (loss(texts[arm][:pulled]), arm))
        arms, pulled = ranked[: (len(arms) + eta - 1) // eta], pulled + chunk
    return arms, min(arms, key=lambda arm: loss(texts[arm]))


def student_t(seen: Sequence[float]) -> tuple[int, float, float]:
    """Degrees of freedom, centre and scale of the posterior of a mean, as textbooks state it for the paper's prior."""
    n, mean = len(seen), sum(seen) / max(1, len(seen))
    kappa, nu = 1 + n, 1 + n
    squares = 1 * 0.1 + sum((value - mean) ** 2 for value in seen) + n * 1 / kappa * (mean - 0) ** 2
    return nu, n * mean / kappa, sqrt(squares / nu / kappa)
