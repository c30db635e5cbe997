"""A given text by itself: which rows of a step tell its log-probabilities, and what its failure leaves alone."""

from __future__ import annotations

import math

from treereason.core import Finish, Prompt
from treereason.engine.kv.forest import Forest
from treereason.engine.kv.pages import PagePool
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.given_text import GivenText


def text_behind_a_prompt(forest: Forest) -> GivenText:
    """The tokens 5, 6, 7, 8 behind a prompt of three."""
    prompt = forest.attach([1, 2, 3], "a")
    node = forest.attach_text([5, 6, 7], "a", prompt)
    branch = Branch(
        "a", (0,), node, Prompt("?"), tokens=[5, 6, 7, 8], text="5678", done=True, finish=Finish.GIVEN, tail=[8]
    )
    return GivenText(branch, prompt.end)


def test_each_step_tells_what_its_rows_come_before() -> None:
    forest = Forest(PagePool(9), 4)
    text = text_behind_a_prompt(forest)
    prompt, node = text.node.path()
    told = []
    for part, count in ((prompt, 2), (prompt, 1), (node, 2), (node, 1)):
        forest.compute(part, count)
        told.append([(given.node, given.rows, given.tokens) for given in text.measured_by({part: count})])
    assert told == [[], [(prompt, range(1), [5])], [(node, range(2), [6, 7])], [(node, range(1), [8])]]


def test_a_text_that_fails_leaves_the_tokens_of_its_node_to_others() -> None:
    text = text_behind_a_prompt(Forest(PagePool(9), 4))
    text.take(0, [-1.0, math.nan, -1.0, -1.0])
    text.finish()
    assert text.branch.error == "the model returned logits that are NaN or infinite at position 4"
    assert text.node.tokens == [5, 6, 7], "it may be evicted, and others may share it"
