"""The order in which nodes lose their pages: what no branch reads first, then the youngest branch's."""

from __future__ import annotations

from treereason.engine.kv.eviction import eviction_order
from treereason.engine.kv.forest import Forest, Node
from treereason.engine.kv.pages import PagePool
from treereason.engine.kv.step_memory import StepMemory

PAGE = 4


def compute(node: Node, forest: Forest, last_used: int) -> Node:
    for part in node.path():
        forest.compute(part, part.num_pending)
    node.last_used = last_used
    return node


def forest_of(num_pages: int) -> tuple[Forest, dict[str, Node]]:
    """Two running branches on one prompt; beside them two finished thoughts, of which one hangs below the other."""
    forest = Forest(PagePool(num_pages), PAGE)
    nodes = {"prompt": compute(forest.attach([1, 2, 3, 4], "a"), forest, last_used=9)}
    for name in ("older", "younger"):
        branch = forest.fork(nodes["prompt"], "a")
        branch.tokens.append(5)
        nodes[name] = compute(branch, forest, last_used=9)
    nodes["recent"] = compute(forest.attach([6], "a"), forest, last_used=8)
    nodes["old"] = compute(forest.attach([7], "a"), forest, last_used=3)
    nodes["below old"] = compute(forest.attach([8], "a", nodes["old"]), forest, last_used=3)
    return forest, nodes


def test_what_no_branch_reads_goes_first_then_the_youngest_branch() -> None:
    forest, nodes = forest_of(num_pages=20)
    names = {node: name for name, node in nodes.items()}
    order = [names[node] for node in eviction_order(forest.nodes(), [nodes["older"], nodes["younger"]])]
    assert order == ["below old", "old", "recent", "younger", "older", "prompt"]


def test_no_more_is_evicted_than_a_step_needs_and_nothing_of_the_step() -> None:
    forest, nodes = forest_of(num_pages=6)
    assert forest.pool.num_free == 0
    memory = StepMemory(forest, [nodes["older"], nodes["younger"]], step=10)
    nodes["older"].tokens += [5, 5, 5, 5]
    assert memory.reserve(nodes["older"].path(), {nodes["older"]: 4}) == 0
    assert [name for name, node in nodes.items() if not node.pages] == ["below old"]
    assert not memory.reserve_next_token(nodes["younger"]), "it has no token to store"
    new = forest.attach(list(range(30, 30 + 4 * PAGE)), "a")
    assert memory.reserve(new.path(), {new: 4 * PAGE}) is None, "three pages are the step's"
    assert memory.reserve(new.path(), {new: 3 * PAGE}) == 0
    assert [name for name, node in nodes.items() if node.pages] == ["prompt", "older"]


def test_tokens_that_come_back_are_counted_as_computed_again() -> None:
    forest, nodes = forest_of(num_pages=20)
    forest.evict(nodes["recent"])
    nodes["recent"].tokens.append(6)
    memory = StepMemory(forest, [], step=10)
    assert memory.empty
    assert memory.reserve(memory.incomplete_path(nodes["recent"]), {nodes["recent"]: 2}) == 1
    assert memory.incomplete_path(nodes["recent"]) == []
    assert not memory.empty
