"""Scorers that run beside the search: its own (`by=`), async ones, and those that no other process can import."""

from __future__ import annotations

from collections.abc import Sequence

from treereason.controller.asking import Ask, gather
from treereason.controller.growth import Growth
from treereason.controller.judging import Judging
from treereason.core import Score, Scorer, Thought, Tree
from treereason.scoring.verdict import kind_of, read_batch, read_verdict
from treereason.text import describe, raised_in


async def verdicts(scorer: Scorer, thoughts: Sequence[Thought], tree: Tree, growth: Growth) -> list[Score | str]:
    """A score, or the text of what went wrong, per thought. All async scorers of a call are awaited together.

    growth: of the tree, which counts what async scorers make in it.
    """
    if not thoughts:
        await Ask()
        return []
    kind = kind_of(scorer)
    if kind == "async":
        return await gather([Judging(_awaited(scorer, thought, tree), growth) for thought in thoughts])
    if kind == "async batch":
        return await Judging(_batch_awaited(scorer, thoughts, tree), growth)
    await Ask()
    if kind == "batch":
        try:
            return read_batch(scorer(list(thoughts)), len(thoughts))
        except Exception as error:
            return [describe(error) + raised_in(error, scorer)] * len(thoughts)
    return [_called(scorer, thought) for thought in thoughts]


def name_of(scorer: Scorer) -> str:
    """What a scorer is called in the record."""
    return str(getattr(scorer, "__name__", type(scorer).__name__))


async def _awaited(scorer: Scorer, thought: Thought, tree: Tree) -> Score | str:
    try:
        return read_verdict(await scorer(thought, tree))
    except Exception as error:
        return describe(error) + raised_in(error, scorer)


async def _batch_awaited(scorer: Scorer, thoughts: Sequence[Thought], tree: Tree) -> list[Score | str]:
    try:
        return read_batch(await scorer(list(thoughts), tree), len(thoughts))
    except Exception as error:
        return [describe(error) + raised_in(error, scorer)] * len(thoughts)


def _called(scorer: Scorer, thought: Thought) -> Score | str:
    try:
        return read_verdict(scorer(thought))
    except Exception as error:
        return describe(error) + raised_in(error, scorer)
