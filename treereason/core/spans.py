"""Self-selected attention spans: what a token sees is told by the text itself, and is a pure function of its path.

A model names the earlier lines that a step needs, and only those are read (Jin et al., arXiv 2404.09336). Equal tokens
have equal views, so their KV can be shared: forks, prunes and rebuilt KV need nothing more. docs/spans.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class View(NamedTuple):
    """What a token sees: positions [first, last) of every interval, and all from `own` to itself.

    earlier: sorted, neither touching nor overlapping, and all end before `own`. See `view`.
    """

    earlier: tuple[tuple[int, int], ...]
    own: int


EVERYTHING = View((), 0)


def view(intervals: Sequence[tuple[int, int]], own: int) -> View:
    """The view of these positions [first, last), in any order, and all from `own` on."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(intervals):
        last = min(last, own)
        if first >= last:
            continue
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    if merged and merged[-1][1] == own:
        own = merged.pop()[0]
    return View(tuple(merged), own)


class SpanPolicy(Protocol):
    """An automaton over token ids: which positions of its path a token sees. One policy serves a whole run."""

    def start(self) -> Any:
        """The state before the first token."""
        ...

    def read(self, state: Any, token: int, position: int) -> tuple[Any, View]:
        """The state behind `token`, and what the token sees; must not change `state`, which other branches go on from.

        position: of the token on its path, from 0. `View.own` is at most that.
        """
        ...


class Spans(Protocol):
    """What a task gives in `spans`: a policy, once the model's tokens are known. `SpanGrammar` is one."""

    def policy(self, encode: Callable[[str], Sequence[int]]) -> SpanPolicy:
        """encode: token ids of a text, without special tokens. Raises ValueError for what the tokenizer cannot do."""
        ...


@dataclass(frozen=True)
class SpanGrammar:
    """Lines with labels, and names that open them.

    A line runs to a `line_end`, its label is its first token. Labels before the line's first `names_end` are names: a
    name opens the latest earlier line that begins with it. The line's own label is one: it opens an earlier line of
    the same label. A token sees the first `sink` tokens, which belong to no line, its own line so far, and the lines
    opened so far in it.

    Each string must be one token of the model.
    wide: from a line's end on, before the next `names_end`, tokens see everything.
    """

    labels: tuple[str, ...]
    line_end: tuple[str, ...] = ("\n",)
    names_end: tuple[str, ...] = ("=",)
    sink: int = 1
    wide: bool = False

    def policy(self, encode: Callable[[str], Sequence[int]]) -> LinePolicy:
        """As in Spans."""

        def ids(texts: tuple[str, ...]) -> frozenset[int]:
            for text in texts:
                if len(encode(text)) != 1:
                    raise ValueError(
                        f"spans need {text!r} as one token; this tokenizer makes {len(encode(text))} of it"
                    )
            return frozenset(encode(text)[0] for text in texts)

        return LinePolicy(ids(self.labels), ids(self.line_end), ids(self.names_end), self.sink, self.wide)


class LineState(NamedTuple):
    """Behind a token. start: of its line. lines: the latest ended line [first, last) of each label.

    label: of its line, None for none. opened: lines named in it. in_names: before its `names_end`.
    num_unknown: names on the path that opened nothing; a line's own label is not counted. seen: by its tokens, unless
    they see everything.
    """

    start: int
    lines: Mapping[int, tuple[int, int]]
    label: int | None = None
    opened: tuple[tuple[int, int], ...] = ()
    in_names: bool = True
    num_unknown: int = 0
    seen: View = EVERYTHING


@dataclass(frozen=True)
class LinePolicy:
    """A SpanGrammar in token ids. A SpanPolicy."""

    labels: frozenset[int]
    line_end: frozenset[int]
    names_end: frozenset[int]
    sink: int = 1
    wide: bool = False

    def start(self) -> LineState:
        """As in SpanPolicy."""
        return LineState(self.sink, {}, seen=self._view(self.sink, ()))

    def read(self, state: LineState, token: int, position: int) -> tuple[LineState, View]:
        """As in SpanPolicy; one step, but for a line's end, which copies what lines there are."""
        if position < self.sink:
            return state, EVERYTHING
        if token in self.line_end:
            # Its own line is closed for what follows, not for itself.
            seen = EVERYTHING if self.wide else state.seen
            lines = state.lines
            if state.label is not None:
                lines = {**lines, state.label: (state.start, position + 1)}
            start = position + 1
            return LineState(start, lines, num_unknown=state.num_unknown, seen=self._view(start, ())), seen
        if state.in_names:
            if token in self.names_end:
                state = state._replace(in_names=False)
            elif token in self.labels:
                state = self._name(state, token, position)
        return state, EVERYTHING if self.wide and state.in_names else state.seen

    def _name(self, state: LineState, token: int, position: int) -> LineState:
        first = position == state.start
        label = token if first else state.label
        line = state.lines.get(token)
        if line is None:
            return state._replace(label=label, num_unknown=state.num_unknown + (not first))
        opened = (*state.opened, line)
        return state._replace(label=label, opened=opened, seen=self._view(state.start, opened))

    def _view(self, start: int, opened: tuple[tuple[int, int], ...]) -> View:
        return view(((0, self.sink), *opened), start)


def views(policy: SpanPolicy, tokens: Sequence[int]) -> list[View]:
    """What each token of a path sees."""
    state, seen = policy.start(), []
    for position, token in enumerate(tokens):
        state, of_token = policy.read(state, token, position)
        seen.append(of_token)
    return seen


def visible(policy: SpanPolicy, tokens: Sequence[int]) -> list[list[bool]]:
    """The mask of a path: row r sees column c. For training and for tests; quadratic."""
    mask = [[False] * len(tokens) for _ in tokens]
    for position, (earlier, own) in enumerate(views(policy, tokens)):
        for first, last in (*earlier, (own, position + 1)):
            mask[position][first:last] = [True] * (last - first)
    return mask
