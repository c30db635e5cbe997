"""Finished thoughts: enough of each to go on behind it until its problem ends, wherever its KV is by then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from treereason.core import ThoughtPath
from treereason.engine.kv.forest import Forest, Node
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.path_text import PathText
from treereason.engine.schedule.branch import Branch


@dataclass(eq=False)
class FinishedThought:
    """Its token ids are those down to `node`, on which it has a reference, then `tokens`.

    Once its KV is dropped there is no node, and `tokens` are all of them: so it can be computed again even when
    everything above it is gone.
    """

    branch: Branch
    node: Node | None
    tokens: list[int]

    @property
    def num_tokens(self) -> int:
        """From the root on."""
        return len(self.tokens) + (self.node.end if self.node else 0)

    def token_ids(self) -> list[int]:
        """All of them, from the root on."""
        return (self.node.token_ids() if self.node else []) + self.tokens

    def end(self, model: LanguageModel, *, cut: bool) -> tuple[Node | None, list[int], PathText]:
        """What a continuation goes on from: node, tokens behind it, and text of the path.

        cut: leave out what is in the last tokens and in nobody's text: what follows a stop string in its token, and
        bytes of a character that is not complete. Where no tokens say the text without it, it stays, unread.
        """
        self.branch.read(model)
        path_text = self.branch.path_text.copy()
        if cut and not path_text.complete:
            tokens = model.encode_text(path_text.ahead)
            exact = PathText(list(path_text.left), list(tokens))
            if exact.read(model.decode) == path_text.ahead and exact.complete:
                num_cut = len(path_text.new)
                if num_cut <= len(self.tokens):
                    return self.node, self.tokens[:-num_cut] + tokens, exact
                return None, self.token_ids()[:-num_cut] + tokens, exact
        return self.node, self.tokens, path_text


class Thoughts:
    """The finished thoughts of all problems in flight, by problem and path."""

    def __init__(self, forest: Forest) -> None:
        self._forest = forest
        self._thoughts: dict[tuple[str, ThoughtPath], FinishedThought] = {}

    def __contains__(self, key: tuple[str, ThoughtPath]) -> bool:
        return key in self._thoughts

    def __iter__(self) -> Iterator[FinishedThought]:
        return iter(self._thoughts.values())

    def get(self, problem: str, path: ThoughtPath) -> FinishedThought:
        """Raises ValueError, one line, when there is none."""
        if (problem, path) not in self:
            name = ".".join(map(str, path)) or "root"
            raise ValueError(f"thought {name} has no text to go on from: it failed, or is not decoded yet")
        return self._thoughts[problem, path]

    def add(self, branch: Branch) -> None:
        """Enter a branch that is done; its reference to its node is the thought's from now on."""
        key = branch.problem, branch.path
        self.drop(*key)  # should the same child have been asked for twice
        self._thoughts[key] = FinishedThought(branch, branch.node, branch.tail)

    def remove(self, thought: FinishedThought) -> None:
        """Forget one whose reference belongs to another owner now."""
        del self._thoughts[thought.branch.problem, thought.branch.path]

    def drop(self, problem: str, path: ThoughtPath) -> None:
        """Return the KV that only this thought needs; its token ids stay. Does nothing for an unknown thought."""
        thought = self._thoughts.get((problem, path))
        if thought is not None and thought.node is not None:
            thought.tokens = thought.token_ids()
            self._forest.release(thought.node)
            thought.node = None

    def kv_tokens(self, problem: str, paths: Iterable[ThoughtPath]) -> int:
        """KV tokens of the nodes down to these thoughts, each node once, in whole pages.

        Evicted ones count as well: what is evicted depends on the other problems in flight.
        """
        found = (self._thoughts.get((problem, path)) for path in paths)
        nodes = {node for thought in found if thought and thought.node for node in thought.node.path()}
        size = self._forest.page_size
        return sum(-(-len(node.tokens) // size) * size for node in nodes)

    def end_problem(self, problem: str) -> None:
        """Forget all of a problem, token ids included."""
        for key in [key for key in self._thoughts if key[0] == problem]:
            self.drop(*key)
            del self._thoughts[key]
