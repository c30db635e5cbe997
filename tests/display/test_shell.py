"""Words come back from a shell as they were, and show nothing on the way that a terminal would change."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from treereason.display.shell import shell_word
from treereason.text import printable

CHARACTERS = st.one_of(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    st.sampled_from(" '\"$`\\!*?~#&|;<>()[]{}\t\n\x1b\u0301\u202e\ufe0f"),
    st.integers(0xDC80, 0xDCFF).map(chr),  # bytes of a file's name that are no text
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(CHARACTERS, min_size=1, max_size=9).map("".join), min_size=1, max_size=30))
def test_a_shell_reads_each_word_as_it_was(words: list[str]) -> None:
    # Surrogates side by side may spell a character, which is what comes back.
    words = [word.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") for word in words]
    line = " ".join(map(shell_word, words))
    assert printable(line, len(line) + 1) == line
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    assert done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1] == words


def test_words_that_need_no_quotes_get_none() -> None:
    assert shell_word("task=./mine.py:Sums") == "task=./mine.py:Sums"
    assert shell_word("task=./my tasks.py") == "'task=./my tasks.py'"
    assert shell_word("task.path=e\u0301") == "$'task.path=e\\xcc\\x81'"
