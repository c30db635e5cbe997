"""A branch: one child, from its first token until a stop string, the end, or a limit; or with a text that is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from treereason.core import Cost, Decoded, Finish, Prompt, Sampling, ThoughtPath
from treereason.engine.kv.forest import Node
from treereason.engine.model.language_model import LanguageModel


@dataclass(eq=False, repr=False)
class Branch:
    """`tokens` are the thought's own. Once `done`, `tail` holds those whose KV is not in the forest (one or none).

    node: it has a reference on it; its path ends with the last token before the tail. max_tokens: most own tokens that
    it may get.
    key: its name for the sampler. text: set when it is not that of the first `num_text` tokens.
    """

    problem: str
    path: ThoughtPath
    node: Node
    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    key: int = 0
    max_tokens: int = 0
    cost: Cost = field(default_factory=Cost)
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    text: str | None = None
    num_text: int = 0
    done: bool = False
    started: float = field(default_factory=perf_counter)
    tail: list[int] = field(default_factory=list)
    finish: Finish | None = None
    stop: str = ""
    error: str | None = None

    def __repr__(self) -> str:
        """Short, because its node holds the forest."""
        state = self.error or self.finish or "decoding"
        return f"<Branch {self.problem}:{'.'.join(map(str, self.path))}, {len(self.tokens)} tokens, {state}>"

    def accept(self, token: int, logprob: float, model: LanguageModel) -> None:
        """Take a sampled token: go on with it, or be done."""
        self.tokens.append(token)
        self.logprob += logprob
        self.cost.tokens_decoded += 1
        if token in model.eos_ids and not self.prompt.ignore_end:
            self._end(Finish.END, num_text=len(self.tokens) - 1)
        elif (found := self._stopped(token, model)) is not None:
            self.text, self.stop = found
            self._end(Finish.STOP, tail=[token])
        elif len(self.tokens) == self.max_tokens:
            self._end(Finish.LENGTH, num_text=len(self.tokens), tail=[token])
        else:
            self.node.tokens.append(token)

    def fail(self, error: str) -> None:
        """End it with an error; its text is what had been decoded until then."""
        self.error = error
        self._end(None, num_text=len(self.tokens))

    def fail_at(self, position: int) -> None:
        """End it because the model gave no probabilities for a position."""
        self.fail(f"the model returned logits that are NaN or infinite at position {position}")

    def reopened(self, node: Node, prompt: Prompt, sampling: Sampling, max_tokens: int) -> Branch:
        """A branch that goes on where this one ended at its limit; its `node` ends with this one's last token."""
        assert self.finish is Finish.LENGTH
        node.growing = True
        return Branch(
            problem=self.problem,
            path=self.path,
            node=node,
            prompt=prompt,
            sampling=sampling,
            key=self.key,
            max_tokens=max_tokens,
            tokens=list(self.tokens),
            logprob=self.logprob,
        )

    def decoded(self, model: LanguageModel) -> Decoded:
        """What the engine answers, once it is done."""
        text = model.decode(self.tokens[: self.num_text]) if self.text is None else self.text
        return Decoded(
            self.problem, self.path, text, self.logprob, self.cost, self.error, finish=self.finish, stop=self.stop
        )

    def _end(self, finish: Finish | None, *, num_text: int = 0, tail: list[int] | None = None) -> None:
        self.finish, self.num_text, self.tail, self.done = finish, num_text, tail or [], True
        self.cost.seconds = perf_counter() - self.started
        if self.node.growing:  # a given text's node never does, and may be evicted
            del self.node.tokens[self.node.num_cached :]
            self.node.growing = False

    def _stopped(self, token: int, model: LanguageModel) -> tuple[str, str] | None:
        """The text before the first stop string, and that string; None when there is none."""
        if not self.prompt.stop:
            return None
        last = model.token_text(token)
        # A stop string can only be complete once its last character has come; "�" is a part of a character.
        if not any(stop[-1] in last or stop[-1].isspace() or "�" in last for stop in self.prompt.stop):
            return None
        text = model.decode(self.tokens)
        found = [(text.find(stop), stop) for stop in self.prompt.stop if stop in text]
        if not found:
            return None
        at, stop = min(found, key=lambda one: (one[0], -len(one[1])))  # of two that begin together, the longer
        return text[:at], stop
