"""Requests become prompts, encoded, checked and attached to the forest; computed prompts become branches."""

from __future__ import annotations

from time import perf_counter

from treereason.core import Cost, Expansion, Finish, Prompt, Resumption, ThoughtPath, Writing
from treereason.engine.kv.forest import RUN, Forest, Node
from treereason.engine.model.language_model import LanguageModel
from treereason.engine.model.path_text import PathText
from treereason.engine.schedule.branch import Branch
from treereason.engine.schedule.given_text import GivenText
from treereason.engine.schedule.pending_prompt import PendingPrompt
from treereason.engine.schedule.prompt_text import PromptText
from treereason.engine.steps.sampler import branch_key
from treereason.engine.thoughts import FinishedThought, Thoughts


class Prompts:
    """Makes what the scheduler computes. Every method raises ValueError, one line, for what cannot be computed."""

    def __init__(self, model: LanguageModel, forest: Forest, thoughts: Thoughts, seed: int) -> None:
        self.shared_prefixes: dict[tuple[int, ...], Node] = {}
        self._model = model
        self._forest = forest
        self._thoughts = thoughts
        self._seed = seed

    def expansion(self, request: Expansion) -> PendingPrompt:
        """The prompt of children to decode."""
        parent = self._parent(request)
        prompt = request.prompt
        if parent and parent.branch.finish is Finish.END and not prompt.token_ids and not prompt.text:
            raise ValueError("an empty appended prompt after a thought that ended its text: give it some text")
        num_before = self._forest.num_attached
        node, text = self._attach(request.problem, prompt, parent)
        return PendingPrompt(request, node, text, num_prefilled=self._forest.num_attached - num_before)

    def writing(self, request: Writing) -> tuple[PendingPrompt, dict[ThoughtPath, str]]:
        """The prompt and the texts behind it; and for each child whose text cannot be computed, the reason."""
        if len(request.texts) != len(request.children):
            raise ValueError(f"{len(request.texts)} texts for {len(request.children)} children")
        num_before = self._forest.num_attached
        node, above = self._attach(request.problem, request.prompt, self._parent(request), given=True)
        prompt, refused = PendingPrompt(request, node, above), {}
        prompt.num_prefilled = self._forest.num_attached - num_before
        for path, text in zip(request.children, request.texts, strict=True):
            try:
                tokens = self._model.encode_text(text)
                self._check_ids(tokens)
                if (end := node.end + len(tokens)) > self._model.max_positions:
                    raise ValueError(
                        f"a text that ends at token {end}: the model takes {self._model.max_positions}, so give less"
                    )
            except ValueError as error:
                refused[path] = str(error)
                continue
            path_text = above.path_text.copy()
            path_text.push(tokens)
            path_text.flush(self._model.decode)
            num_before = self._forest.num_attached
            branch = Branch(
                problem=request.problem,
                path=path,
                node=self._forest.attach_text(tokens[:-1], request.problem, node),
                prompt=request.prompt,
                tokens=tokens,
                above=above,
                text=text,
                path_text=path_text,
                done=True,
                tail=tokens[-1:],
                finish=Finish.GIVEN,
            )
            prompt.texts.append(GivenText(branch, node.end, num_prefilled=self._forest.num_attached - num_before))
        return prompt, refused

    def resumption(self, request: Resumption) -> PendingPrompt | None:
        """What is computed before a thought goes on, which is unfinished from now on; None if nothing can follow."""
        thought = self._thoughts.get(request.problem, request.path)
        branch = thought.branch
        left = min(request.prompt.max_tokens, self._model.max_positions - thought.num_tokens)
        if branch.finish is not Finish.LENGTH or left < 1:
            return None
        node, num_prefilled = thought.node, len(thought.tokens)
        if node is not None and not node.children and node.num_references == 1:
            node.tokens += thought.tokens
        else:  # others need the node as it is, or it is gone
            num_before = self._forest.num_attached
            before, node = node, self._forest.attach(thought.tokens, request.problem, node)
            num_prefilled = self._forest.num_attached - num_before
            if before is not None:
                self._forest.release(before)
        self._thoughts.remove(thought)
        resumed = branch.reopened(node, request.prompt, request.sampling, max_tokens=len(branch.tokens) + left)
        return PendingPrompt(request, node, resumed=resumed, num_prefilled=num_prefilled)

    def start_branches(self, prompt: PendingPrompt) -> list[Branch]:
        """The branches whose next token comes from the last row of a prompt that is computed."""
        request, node = prompt.request, prompt.node
        if prompt.resumed is not None:
            prompt.resumed.cost = _cost(node, prompt.num_prefilled)
            prompt.resumed.started = perf_counter()
            return [prompt.resumed]
        branches = [self._branch(prompt, path) for path in prompt.children] if isinstance(request, Expansion) else []
        self._forest.release(node)
        return branches

    def repeat(self, prompt: PendingPrompt) -> list[Branch]:
        """The branches whose answers are known, at their ends; their KV is computed when something needs it.

        An Expansion goes on with its other children; of the rest all must be known, and nothing is left to compute.
        """
        request, known = prompt.request, prompt.known
        if any(child.cost.tokens_prefilled or child.cost.tokens_reused for child in known.values()):  # it was computed
            for node in prompt.nodes:
                self._forest.restore(node)
        branches = []
        if prompt.resumed is not None:
            branches.append(prompt.resumed)
        elif isinstance(request, Expansion):
            branches += [self._branch(prompt, path) for path in request.children if path in known]
        for branch in branches:
            branch.repeat(known[branch.path], self._model)
            self._forest.restore(branch.node)
        for text in prompt.texts:
            text.branch.repeat(known[text.branch.path], self._model)
            branches.append(text.branch)
        if prompt.resumed is None and not prompt.children:
            self._forest.release(prompt.node)
        return branches

    def _branch(self, prompt: PendingPrompt, path: ThoughtPath) -> Branch:
        """A new branch behind a prompt that is computed. The first one bears the prompt's cost."""
        request, node = prompt.request, prompt.node
        assert isinstance(request, Expansion)
        num_prefilled = prompt.num_prefilled if path == request.children[0] else 0
        return Branch(
            problem=request.problem,
            path=path,
            node=self._forest.fork(node, request.problem),
            prompt=request.prompt,
            sampling=request.sampling,
            key=branch_key(self._seed, request.problem, path),
            above=prompt.text,
            path_text=prompt.text.path_text.copy(),
            max_tokens=min(request.prompt.max_tokens, self._model.max_positions - node.end),
            cost=_cost(node, num_prefilled),
        )

    def finish_texts(self, prompt: PendingPrompt) -> list[Branch]:
        """The branches of a prompt's texts, all of whose log-probabilities are known."""
        for text in prompt.texts:
            # As above: the first text bears the prompt's cost, and each what was computed for it first.
            num_prefilled = text.num_prefilled + (prompt.num_prefilled if text is prompt.texts[0] else 0)
            text.branch.cost = _cost(text.node, num_prefilled)
            text.finish()
        return [text.branch for text in prompt.texts]

    def _parent(self, request: Expansion | Writing) -> FinishedThought | None:
        """The thought that an appended prompt continues."""
        if request.prompt.appended and request.parent:
            return self._thoughts.get(request.problem, request.parent)
        return None

    def _attach(
        self, problem: str, prompt: Prompt, parent: FinishedThought | None, *, given: bool = False
    ) -> tuple[Node, PromptText]:
        """The node with which the prompt ends, with a reference, and its text. Raises ValueError for none, or too much.

        given: given texts follow, which no token completes.
        """
        below: Node | None = None
        path_text, written = PathText(), ""
        if parent is None:
            own, num_shared = self._model.encode(prompt)
            tokens, prefix = own, tuple(own[:num_shared])
            if prefix and prefix not in self.shared_prefixes:
                self.shared_prefixes[prefix] = self._forest.attach(prefix, RUN)
        else:
            own = list(prompt.token_ids) or self._model.encode_text(prompt.text)
            stopped = parent.branch.finish is Finish.STOP
            below, tokens, path_text = parent.end(self._model, cut=bool(own) or stopped or given)
            tokens = tokens + own
            if not tokens and below:  # nothing is lacking but the logits of the last token: it is computed again
                tokens, below = below.token_ids(), None
            if not own and not stopped:
                written = parent.branch.above.written + parent.branch.text
        self._check_ids(tokens)
        length = len(tokens) + (below.end if below else 0)
        if length >= self._model.max_positions:
            raise ValueError(
                f"a prompt of {length} tokens: the model takes {self._model.max_positions}, answer included, so give "
                "less"
            )
        path_text.push(own)
        seen = path_text.flush(self._model.decode) if given else path_text.read(self._model.decode) if own else ""
        return self._forest.attach(tokens, problem, below), PromptText(seen, path_text, written)

    def _check_ids(self, tokens: list[int]) -> None:
        size = self._model.vocabulary_size
        if (strange := next((token for token in tokens if not 0 <= token < size), None)) is not None:
            raise ValueError(f"a prompt with token id {strange}; the model's vocabulary is 0 to {size - 1}")


def _cost(node: Node, num_prefilled: int) -> Cost:
    """Cost of what ends with `node`, before anything is decoded."""
    return Cost(tokens_prefilled=num_prefilled, tokens_reused=node.end - num_prefilled)
