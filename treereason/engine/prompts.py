"""Requests become prompts in the forest: encoded, checked, and attached where their first tokens already are."""

from __future__ import annotations

from dataclasses import dataclass

from treereason.core import Expansion, Finish, Prompt, Resumption, ThoughtPath, Writing
from treereason.engine.branch import Branch
from treereason.engine.given_text import GivenText
from treereason.engine.kv.forest import RUN, Forest, Node
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.scheduler import PendingPrompt


@dataclass(eq=False)
class KnownThought:
    """A finished thought. Its token ids are those down to `node`, held, then `tokens`.

    Once its KV is dropped there is no node, and `tokens` are all of them. They are a list of the thought's own, so that
    a thought can be continued after everything above it is gone.
    """

    branch: Branch
    node: Node | None
    tokens: list[int]

    @property
    def num_tokens(self) -> int:
        return len(self.tokens) + (self.node.end if self.node else 0)

    def token_ids(self) -> list[int]:
        """All of them, from the root on."""
        above = [token for node in self.node.path() for token in node.tokens] if self.node else []
        return above + self.tokens


class Prompts:
    """Makes what the scheduler computes. Every method raises ValueError, one line, for what cannot be computed."""

    def __init__(self, model: LanguageModel, forest: Forest) -> None:
        self.shared_prefixes: dict[tuple[int, ...], Node] = {}
        self._model = model
        self._forest = forest

    def expansion(self, request: Expansion, parent: KnownThought | None) -> PendingPrompt:
        """The prompt of children to decode. parent: the thought that an appended prompt continues."""
        return PendingPrompt(request, self._attach(request.problem, request.prompt, parent, may_be_empty=False))

    def writing(
        self, request: Writing, parent: KnownThought | None
    ) -> tuple[PendingPrompt, list[tuple[ThoughtPath, str]]]:
        """The prompt and all texts behind it; and the children whose text cannot be computed, with the reason."""
        texts: list[tuple[ThoughtPath, str, list[int]]] = []
        refused: list[tuple[ThoughtPath, str]] = []
        if len(request.texts) != len(request.children):
            raise ValueError(f"{len(request.texts)} texts for {len(request.children)} children")
        node = self._attach(request.problem, request.prompt, parent, may_be_empty=True)
        for path, text in zip(request.children, request.texts, strict=True):
            try:
                tokens = self._model.encode_text(text)
                self._check_ids(tokens)
                if node.end + len(tokens) > self._model.max_positions:
                    raise ValueError(
                        f"a text that ends at token {node.end + len(tokens)}; the model holds "
                        f"{self._model.max_positions}"
                    )
                texts.append((path, text, tokens))
            except ValueError as error:
                refused.append((path, str(error)))
        prompt = PendingPrompt(request, node)
        for path, text, tokens in texts:
            branch = Branch(
                problem=request.problem,
                path=path,
                node=self._forest.attach_text(tokens[:-1], request.problem, node),
                prompt=request.prompt,
                tokens=tokens,
                text=text,
                done=True,
                tail=tokens[-1:],
                finish=Finish.GIVEN,
            )
            prompt.texts.append(GivenText(branch, node.end))
        return prompt, refused

    def resumption(self, request: Resumption, thought: KnownThought) -> PendingPrompt | None:
        """What is computed before the thought goes on; None when nothing can follow. Takes the thought's hold over."""
        branch = thought.branch
        if branch.finish is not Finish.LENGTH:
            return None
        left = min(request.prompt.max_tokens, self._model.max_positions - thought.num_tokens)
        if left < 1:
            return None
        node = thought.node
        if node is not None and not node.children and node.num_holders == 1:
            node.tokens += thought.tokens
        else:  # others need the node as it is, or it is gone
            above, node = node, self._forest.attach(thought.tokens, request.problem, node)
            if above is not None:
                self._forest.release(above)
        resumed = branch.reopened(node, request.prompt, request.sampling, max_tokens=len(branch.tokens) + left)
        return PendingPrompt(request, node, resumed=resumed)

    def _attach(self, problem: str, prompt: Prompt, parent: KnownThought | None, *, may_be_empty: bool) -> Node:
        """The held node with which the prompt ends."""
        below: Node | None = None
        if parent is None:
            tokens, num_shared = self._model.encode(prompt)
            prefix = tuple(tokens[:num_shared])
            if prefix and prefix not in self.shared_prefixes:
                self.shared_prefixes[prefix] = self._forest.attach(prefix, RUN)
        else:
            below = parent.node
            tokens = parent.tokens + (list(prompt.token_ids) or self._model.encode_text(prompt.text))
            if not prompt.token_ids and not prompt.text and parent.branch.finish is Finish.END and not may_be_empty:
                raise ValueError("an empty appended prompt after a thought that ended its text")
            if not tokens:  # nothing is lacking but the logits of the parent's last token: it is computed again
                tokens, below = parent.token_ids(), None
        self._check_ids(tokens)
        length = len(tokens) + (below.end if below else 0)
        if length >= self._model.max_positions:
            raise ValueError(f"a prompt of {length} tokens; the model holds {self._model.max_positions}")
        return self._forest.attach(tokens, problem, below)

    def _check_ids(self, tokens: list[int]) -> None:
        size = self._model.vocabulary_size
        if (strange := next((token for token in tokens if not 0 <= token < size), None)) is not None:
            raise ValueError(f"a prompt with token id {strange}; the model's vocabulary is 0 to {size - 1}")
