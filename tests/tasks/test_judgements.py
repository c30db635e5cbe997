"""Words of judgement: the last one of each line counts, whole words alone."""

import pytest

from treereason.tasks.judgements import judged

VALUES = {"sure": 20.0, "likely": 1.0, "impossible": 0.001}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("sure", [20.0]),
        ("Sure? No: LIKELY.", [1.0]),
        ("sure\n\nnothing here\nimpossible", [20.0, 0.001]),
        ("unlikely, surely possible", []),
        ("**sure**", [20.0]),
        ("", []),
    ],
)
def test_the_last_word_of_judgement_in_each_line_counts(text: str, values: list[float]) -> None:
    assert judged(text, VALUES) == values
