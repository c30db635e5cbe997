"""Code of a user is left in its middle, what it calls of the run is not."""

from __future__ import annotations

import pytest

from treereason.controller.user_code import Left, UserCode


def test_code_of_a_user_is_left_where_it_is_and_other_code_goes_on() -> None:
    code = UserCode()
    code.leave()
    with pytest.raises(Left), code.running():
        code.leave()
    code.leave()


def test_what_code_of_a_user_calls_of_the_run_ends_before_that_is_left() -> None:
    code, done = UserCode(), list[str]()

    def record(what: str) -> str:
        code.leave()
        done.append(what)
        return what

    whole = code.uninterrupted(record)
    with pytest.raises(Left), code.running():
        whole("kept")
    assert whole("later") == "later"
    assert done == ["kept", "later"]


def test_a_call_that_fails_leaves_code_of_a_user_as_it_was() -> None:
    code = UserCode()

    def fail() -> None:
        raise ValueError

    with code.running():
        with pytest.raises(ValueError, match=r"^$"):
            code.uninterrupted(fail)()
        with pytest.raises(Left):
            code.leave()
