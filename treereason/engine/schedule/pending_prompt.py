"""A request's prompt, from its submission until its last token is computed and what follows can start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from treereason.core import Decoded, Request, ThoughtPath
from treereason.engine.kv.forest import Node
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.given_text import GivenText
from treereason.engine.schedule.prompt_text import PromptText


@dataclass(eq=False)
class PendingPrompt:
    """A prompt to compute for a request. It has a reference on `node`, which ends with the prompt.

    What follows: new branches (an Expansion), `texts`, each with a node of its own (a Writing), or `resumed`, whose
    node is this one (a Resumption). text: the prompt's own, for new branches and given texts.
    num_prefilled: tokens that it adds to the forest for its problem. known: children that are not decoded, because
    their answers are recorded.
    """

    request: Request
    node: Node
    text: PromptText = field(default_factory=PromptText)
    texts: list[GivenText] = field(default_factory=list)
    resumed: Branch | None = None
    num_prefilled: int = 0
    ready: bool = False
    known: Mapping[ThoughtPath, Decoded] = field(default_factory=dict)

    @property
    def children(self) -> list[ThoughtPath]:
        """The children that wait for it."""
        return [path for path in self.request.children if path not in self.known]

    @property
    def nodes(self) -> list[Node]:
        """Every node that it has a reference on, one entry per reference."""
        return [self.node, *(text.node for text in self.texts)]

    def mark_ready(self) -> list[Node]:
        """Note that the prompt is computed, and every text that is; returns their nodes, of this time only."""
        self.ready = True
        ready = [text for text in self.texts if not text.ready and not any(node.num_pending for node in text.parts())]
        for text in ready:
            text.ready = True
        return [text.node for text in ready] if self.texts else [self.node]

    def next_part(self) -> PendingPrompt | GivenText | None:
        """What to compute next: the prompt itself, then one text after another; None when all is ready."""
        return next((text for text in self.texts if not text.ready), None) if self.ready else self
