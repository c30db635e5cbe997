"""What one step computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from treereason.engine.kv.forest import Node
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.draft import LaidDraft
from treereason.engine.schedule.given_text import GivenTokens
from treereason.engine.schedule.pending_prompt import PendingPrompt


@dataclass
class StepBatch:
    """tokens: how many stored tokens of each node, its last ones, are computed. step: its number.

    drafts: what is proposed to follow branches, computed beside them; among `tokens`.
    branches, prompts: whose last token is among them, so that its row of logits gives the next one.
    given: tokens of given texts whose log-probabilities are wanted. num_given: tokens computed for them.
    ends: the nodes of branches, prompts and texts that are computed up to their end.
    num_prefilled counts prompt tokens computed for the first time, num_rebuilt any tokens computed again after an
    eviction. too_large: those that do not fit into the pool even alone. others_wait: whether prompts or other running
    branches want to join the next step.
    """

    step: int
    tokens: dict[Node, int] = field(default_factory=dict)
    branches: list[Branch] = field(default_factory=list)
    prompts: list[PendingPrompt] = field(default_factory=list)
    drafts: dict[Branch, LaidDraft] = field(default_factory=dict)
    given: list[GivenTokens] = field(default_factory=list)
    ends: list[Node] = field(default_factory=list)
    num_given: int = 0
    num_prefilled: int = 0
    num_rebuilt: int = 0
    too_large: list[Branch | PendingPrompt] = field(default_factory=list)
    others_wait: bool = False

    def rows_of(self, branch: Branch, rows: Mapping[Node, range]) -> list[int]:
        """The row that draws the branch's next token, then those that draw what follows each token of its draft.

        rows: those of each node's last stored tokens.
        """
        laid, node = self.drafts.get(branch), branch.node
        if laid is not None:
            places = ((node, laid.num_own - 1), *laid.places)
            return [rows[part][index - (part.num_cached - len(rows[part]))] for part, index in places]
        if node not in rows:  # it has no token of its own yet
            assert node.parent is not None
            assert not node.tokens
            node = node.parent
        return [rows[node][-1]]
