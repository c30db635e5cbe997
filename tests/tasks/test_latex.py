"""Answers compared as mathematics by math-verify, an optional package."""

import importlib.util

import pytest

from treereason.config.scorers import load_scorer, scorer_reference
from treereason.config.user_files import load
from treereason.core import Problem, Score, Thought, UserError
from treereason.scoring.process import Scoring
from treereason.tasks.answers import canonical
from treereason.tasks.few_shot import FewShot
from treereason.tasks.latex import MathEqual

installed = pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="math-verify is optional")


def judged(target: str, answer: str | None) -> bool:
    thought = Thought(Problem("0", "q", canonical(target)), (0,), answer=None if answer is None else canonical(answer))
    score = MathEqual()(thought)
    assert score == Score(float(score.final), final=score.final)
    return score.final


@installed
@pytest.mark.parametrize(
    ("target", "answer"),
    [
        (r"\sqrt{8}", r"2\sqrt{2}"),
        ("x+1", "1+x"),
        ("x^2", "f(x) = x^2"),
        ("x^2-1", "(x-1)(x+1)"),
        (r"(1, \sqrt{4})", "(1, 2)"),
        ("5", r"\sqrt{25}"),
        ("120", "5!"),
        (r"\frac{\sqrt{3}}{2}", r"\sqrt{3}/2"),
        ("5 1/2", "11/2"),
        ("Paris", "paris."),
        ("p - q", "p-q"),
        ("1,-2", r"\boxed{-2, 1}"),
        ("3, 5, 7", "3,5,7"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \pi/2)"),
        (r"11,\! 111,\! 100", "11111100"),
        (r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}", r"\begin{pmatrix}\frac{1}{5}\\-\frac{18}{5}\end{pmatrix}"),
        (r"(-\infty, 2) \cup (3, \infty)", r"(-\infty,2)\cup(3,\infty)"),
        (r"x \in [-2,7]", "[-2, 7]"),
    ],
)
def test_what_is_equal_as_mathematics_is_right(target: str, answer: str) -> None:
    assert judged(target, answer)


@installed
@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("5", "5 million"),
        ("5", "5x"),
        ("5", "5 or 6"),
        ("(1, 2)", "(2, 1)"),
        ("[1, 2]", "[1, 2)"),
        ("5", "{"),
        ("5", "[5]"),
        ("5", "5, 5"),
        ("1, 2", "(1, 2)"),
        ("p-q", "q-p"),
        ("x-ray", "ray-x"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 & 2 \end{pmatrix}"),
        ("5", "{5}"),
        ("{1, 2}", "(1, 2)"),
        ("6", "5 = 6"),
        ("5", "6 = 5"),
        ("5", r"5\ldots"),
        ("5", None),
    ],
)
def test_what_differs_or_is_read_in_part_is_wrong(target: str, answer: str | None) -> None:
    assert not judged(target, answer)


@installed
@pytest.mark.slow
def test_an_answer_that_takes_forever_costs_its_thought_and_not_the_run() -> None:
    with Scoring("treereason.tasks.latex:MathEqual", 3.0, load) as scoring:
        for answer in ("9^{9^{9^{9^9}}}", r"\sqrt{4}+9^9"):
            scoring.submit(Thought(Problem("0", "q", "9^9 + 2"), (0,), answer=answer))
        outcomes: list[Score | str] = []
        while len(outcomes) < 2:
            outcomes += [outcome for _, outcome in scoring.poll(5.0)]
    assert outcomes == ["scorer took longer than 3 s (scorer_timeout_s)", Score(1.0, final=True)]


def test_a_missing_package_is_named_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treereason.config.scorers.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs math_verify: pip install 'treereason\[math\]'"):
        load_scorer(scorer_reference("treereason.tasks.latex:MathEqual", FewShot()))
