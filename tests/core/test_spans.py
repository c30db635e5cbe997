"""What a token sees is told by the lines that its own line names."""

from __future__ import annotations

import pytest

from treereason.core.spans import SpanGrammar, visible

GRAMMAR = SpanGrammar(labels=("c", "d", "e"))
TEXT = "^c=41\nd=c2\nc=41=41\ndc=3"
"""`^` is the sink; the first c opens nothing, the second its definition, and `dc` d's definition and c's result."""


def encode(text: str) -> list[int]:
    return list(map(ord, text))


def seen(grammar: SpanGrammar, text: str, position: int) -> str:
    mask = visible(grammar.policy(encode), encode(text))[position]
    return "".join(char for char, is_seen in zip(text, mask, strict=False) if is_seen)


def test_a_token_sees_the_sink_its_own_line_and_the_lines_that_it_names() -> None:
    assert seen(GRAMMAR, TEXT, TEXT.index("2")) == "^d=c2"
    assert seen(GRAMMAR, TEXT, TEXT.rindex("41")) == "^c=41\nc=41=4"
    assert seen(GRAMMAR, TEXT, TEXT.rindex("d")) == "^d=c2\nd"
    assert seen(GRAMMAR, TEXT, len(TEXT) - 1) == "^d=c2\nc=41=41\ndc=3"


def test_a_line_is_closed_behind_its_end() -> None:
    assert seen(GRAMMAR, TEXT, TEXT.index("\n")) == "^c=41\n"
    assert seen(GRAMMAR, TEXT, TEXT.index("d")) == "^d"


def test_wide_rows_see_everything_from_a_lines_end_to_the_end_of_its_names() -> None:
    wide = SpanGrammar(labels=GRAMMAR.labels, wide=True)
    end, names_end = TEXT.rindex("\n"), TEXT.rindex("=")
    for position in range(end, names_end):
        assert seen(wide, TEXT, position) == TEXT[: position + 1]
    assert seen(wide, TEXT, names_end) == seen(GRAMMAR, TEXT, names_end)


def test_a_name_without_a_line_opens_nothing_and_is_counted() -> None:
    policy = GRAMMAR.policy(encode)
    state = policy.start()
    for position, token in enumerate(encode("^dce=1")):
        state, view = policy.read(state, token, position)
    assert state.num_unknown == 2
    assert view == ((), 0)  # the sink and its own line touch


def test_a_label_of_several_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="spans need 'ab' as one token; this tokenizer makes 2 of it"):
        SpanGrammar(labels=("ab",)).policy(encode)
