"""Stated text as a value: whole or not at all, equal where values are equal."""

import time
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from treereason.tasks.answers import canonical, final_answer, is_number, last_box, statement
from treereason.tasks.numbers import read_number

SAME: dict[int | str, str] = {
    5: (
        "5|+5|(5)|5.|5.0|05|**5**|$5|5 €|USD 5|x = 5|٥|５|5 apples|5 km/h|5 m²|$5 a day|5 per hour|10/2|"
        "500%|0.5e1|5km|`5`|__5__|_5_|5 °C|5m²|5m/s|60/12 km/h|5GB|5cm²|5 square feet|"
        "EUR5|US $5|R$5|5¢|5.50/1.1|5/day|$5/kg|5 fl oz|"
        "Area = 5|x_1 = 5|"
        r"\theta = 5|5~\text{cm}|\boxed{\boxed{5}}|"
        r"\boxed{5}|$\boxed{5}$"
    ),
    -5: "-5|−5|–5|-$5|$-5|- 5|-(5)|(-5)|minus 5|negative 5|-£5.00|－5",
    1500: (
        "1.5e3|1,500|1 500|1'500|1’500|1_500|1\u00a0500|1\u202f500|1\u2009500|1.5×10^3|1.5 × 10³|1.5*10**3|"
        "1.5 thousand|15E2|15 hundreds|1.5thousand|$1,500.00|1{,}500|15 hundred|"
        r"1.5\times10^{3}|1\,500"
    ),
    1234567: "1,234,567|1.234.567|1 234 567|12,34,567|1,234,567.0|1.234.567,0|1'234'567.00",
    "1234.5": "1,234.5|1.234,5|1 234,5|1 234.5|1234.50|1'234,50 €",
    "5.5": (
        "5 1/2|5½|5 and 1/2|11/2|5.50|550 %|5,50 €|"
        r"5\frac{1}{2}|5\frac12|\dfrac{11}{2}"
    ),
    "0.625": (
        "5/8|5 / 8|5⁄8|5 ÷ 8|⅝|.625|62.5%|62.5 percent|10/16|"
        r"62.5\%|\frac{5}{8}|\frac5{8}|\frac{5}8"
    ),
    "1/3": (
        "1/3|2/6|⅓|1 / 3 cup|"
        r"\tfrac{1}{3}"
    ),
    "0.00005": (
        "0.00005|5e-05|5×10⁻⁵|5 x 10^-5|5*10^(-5)|0.005%|"
        r"5 \cdot 10^{-5}"
    ),
    "1.234": "1.234",
    "{1, 2}": (
        "{1, 2}|{2,1}|{2; 1; 1}|"
        r"\{1.0, 2\}|$\{2, 1\}$"
    ),
    "[1, 2.5)": (
        "[1, 2.5)|[1,5/2)|[ 1; 2.50 )|x ∈ [1, 2.5)|"
        r"\left[1, \frac{5}{2}\right)"
    ),
    "(-∞, 5]": (
        "(-∞, 5]|(−inf,5.0]|"
        r"(-\infty, 5]"
    ),
    "1, 2.5": "1, 2.5|1; 2.5|1.0, 5/2|x = 1, 2.5",
    "[0, 1] ∪ [2, 3)": (
        "[0,1] ∪ [2,3)|[0,1]∪[2,3)|[2,3) ∪ [0,1]|"
        r"[0,1]\cup[2,3)"
    ),
    "∅": r"∅|{}|\emptyset|\varnothing",
    "{1000}": "{1,000}|{1000}",
    "1, -2": "1, -2|1,-2|1; −2|$1,-2$",
    "(1, -2)": "(1, -2)|(1,−2)|(1.0; -2)",
    "paris": (
        'Paris| "Paris".|**Paris**|Paris!|‘Paris’|'
        r"\text{Paris}"
    ),
    "b": (
        "B|(B)|b.|"
        r"\boxed{\text{B}}"
    ),
}
"""Spellings of a value, with bars between them."""


@pytest.mark.parametrize(
    ("text", "value"), [(text, value) for value, texts in SAME.items() for text in texts.split("|")]
)
def test_equal_values_compare_equal(text: str, value: int | str) -> None:
    assert canonical(text) == value


UNREADABLE = (
    "5 or 6|5 to 6|5-6|5–6|5:30|5, 6|5,6|5 hours 30 minutes|5 feet 3 inches|5 and a half|"
    "5 dollars and 20 cents|5 + 3|5i|5 i|5√2|5 x|5x^2|5²|5^2|5**3|5!|5k|5M|5 万|5 millones|5 тысяч|5 p.m.|"
    "5th|0x5|5e|5e+|5e2.5|5/0|5 3/2|5.6.7|5,000,00|0,234|--5|5-|±5|~5|≈5|<5|5?|about 5|5 times 3|"
    "5 squared|5 pi|5 π|[5]|{5}|5 = 6|5 % of 80|5 in binary|5/8/9|5 1/2/3|1-1/2|5 half|5 000 00|①|5₂|"
    "10^2^3|5 and 5|1e99999|5 M|$5 M|$5 m|$5 mm|5MM|₹5 L|-5!|(5)!|5 !|5!!|0.333...|0.3…|5 per hundred|"
    "3 cases per million|5 grand|5 lacs|5 quintillion|5 twelfths|5 sixteenths|5 basis points|5 ppm|5 Prozent|"
    "5 pour cent|5 tusen|5 juta|5 xy|5 bh|5 πr|5 theta|5 exp|5 approx|5 is wrong|5 May|5 of May|"
    "5 in the morning|5 BCE|5 square|5 square root|$5%|"
    "$5/100g|5/100g|5 thou|5 bil|5 gazillion|5 komma zwei|5/xy|5/h|"
    r"5\,xy|5\boxed{7}|\boxed{5 \boxed{7}}|"
    "5\u20627|5\u20637|5\u20647|1, 2, ...|{1, 2, ...}"
)


@pytest.mark.parametrize("text", UNREADABLE.split("|"))
def test_a_number_is_not_read_in_part(text: str) -> None:
    assert isinstance(canonical(text), str)
    assert not is_number(text)


def spellings(number: int) -> list[str]:
    """Twenty ways to write a number of 0 or more."""
    plain, grouped = str(number), f"{number:,}"
    full_width = plain.translate({ord("0") + i: "０１２３４５６７８９"[i] for i in range(10)})
    arabic = plain.translate({ord("0") + i: "٠١٢٣٤٥٦٧٨٩"[i] for i in range(10)})
    grouping = [grouped.replace(",", mark) for mark in (",", " ", "'", "’", "_", "\u00a0", "\u202f", "\u2009")]
    return [
        *grouping,
        *(f"+{plain}", f"({grouped})", f"${grouped}.00", f"{plain} €", f"**{grouped}**", rf"\boxed{{{plain}}}"),
        *(
            full_width,
            arabic,
            f"{plain}.0",
            f"{plain}e0",
            f"{plain}0E-1",
            f"{plain} × 10⁰",
            f"{plain}00%",
            f"{plain}/1",
        ),
        *(
            f"{plain}/1",
            f"{number * 3}/3",
            f"{grouped} apples",
            f"0{plain}",
            f"n = {plain}.",
            rf"$\frac{{{plain}}}{{1}}$",
        ),
    ]


@given(st.integers(0, 10**30))
def test_a_whole_number_is_read_back_from_every_spelling(number: int) -> None:
    assert len(spellings(number)) >= 20
    for text in spellings(number):
        assert canonical(text) == number, text
        negative = text.replace("$", "-$", 1) if text.startswith("$") and "\\" not in text else f"-{text}"
        if text[0].isdecimal():
            assert canonical(negative) == -number, negative
            assert canonical("−" + text) == -number


@given(st.fractions(max_denominator=1000))
def test_a_fraction_is_read_back_from_every_spelling(number: Fraction) -> None:
    above, below, sign = abs(number.numerator), number.denominator, "-" * (number < 0)
    whole, rest = divmod(above, below)
    texts = [f"{sign}{above}/{below}", f"{sign}{above} / {below}", rf"{sign}\frac{{{above}}}{{{below}}}"]
    texts += [f"{sign}{2 * above}/{2 * below}", f"{sign}({above}/{below})"]
    if whole and rest:
        texts += [f"{sign}{whole} {rest}/{below}", rf"{sign}{whole}\frac{{{rest}}}{{{below}}}"]
    assert {read_number(text) for text in texts if "\\" not in text} == {number}
    assert len({canonical(text) for text in texts}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5M", "5m"),
        ("5 M", "5 m"),
        ("n!", "n"),
        ("(n+1)!", "n+1"),
        ("1, 2, ...", "1, 2"),
        ("{1, 2, ...}", "{1, 2}"),
        ("(1,000,2)", "(1,0,2)"),
    ],
)
def test_different_values_compare_unequal(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


@given(st.text("0123456789.,'’ +-−*^:eEx½²√()[]{}\u00a0", min_size=1, max_size=8))
def test_what_follows_a_number_is_never_left_unread(tail: str) -> None:
    assume(any(sign in tail for sign in "23456789½²√^[]{}"))
    assert canonical(f"5{tail}") != 5, tail


@given(st.text(max_size=40) | st.text("0123456789.,-*$'/ aA()[]{};e%½\\!", max_size=12))
def test_a_canonical_answer_is_canonical(text: str) -> None:
    once = canonical(text)
    assert canonical(str(once)) == once


@given(st.text())
def test_random_text_is_a_number_only_if_it_has_digits(text: str) -> None:
    if is_number(text):
        assert any(letter.isnumeric() for letter in text)


def test_long_numbers_and_long_texts_are_answers_too() -> None:
    assert canonical("1" + ",000" * 1700) == canonical("1" + "000" * 1700) == "1" + "000" * 1700
    assert canonical("7" * 100_000) == "7" * 100_000
    assert isinstance(canonical("(" * 10_000), str)
    assert isinstance(canonical(r"\boxed{" * 3_000), str)
    assert canonical("1e-5000") == canonical("10e-5001")


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{" * 1400 + "}" * 1400,
        "x=" * 5000,
        "(" * 5000 + ")" * 5000,
        "5" + " " * 10_000,
        r"\boxed " * 2000,
        "#" * 10_000,
        "\n" * 10_000,
        "* " * 5000,
        "Answer:\n" * 2000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    start = time.perf_counter()
    canonical(text)
    statement(f"The answer is {text}. So")
    final_answer(f"Answer: {text}\n{text}")
    assert time.perf_counter() - start < 20, "quadratic ways take minutes"


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("The answer is 5.", " 5."),
        ("The answer is 5. So we are done", " 5"),
        ("The answer is 5 because 2 + 3 = 5.", " 5"),
        ("The answer is St. Louis.", " St. Louis."),
        ("The answer is 1. The final answer is: 2\nNext", " 2"),
        (r"so \boxed{1} and \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"so \boxed{1", None),
        ("5", None),
        ("The answer is:\n\n**5**\n", "**5**"),
        ("The answer is:\n\\[\n\\boxed{5}\n\\]", r"\boxed{5}"),
        ("The answer is 5. The answer isn't 7.", " 5"),
        ("The answer is 5? No, 7", " 5? No, 7"),
        ("The answer is 5! So", " 5! So"),
        ("The answer is 5.5! So", " 5.5!"),
        ("The answer is 5. million", " 5. million"),
        ("The answer is 5. x 10^3", " 5. x 10^3"),
        ("The answer is 5. so we are done", " 5"),
        (r"so \boxed{\boxed{5} \text{ or } 7}", r"\boxed{5} \text{ or } 7"),
        (r"so \boxed{\boxed{5}", None),
    ],
)
def test_a_statement_is_the_last_one(text: str, stated: str | None) -> None:
    assert statement(text) == stated


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        (r"The answer is \boxed{5}", "5"),
        (r"The answer is **$\boxed{5}$**.", "5"),
        (r"The answer is \boxed{5} mil", None),
        (r"The answer is \boxed{5} or", None),
        ("The answer is:\n\n5", None),
        ("The answer is 5. Mo", " 5"),
    ],
)
def test_what_a_limit_cut_off_is_stated_only_in_a_box_of_its_own(text: str, stated: str | None) -> None:
    assert statement(text, cut=True) == stated


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"\boxed{5}", "5"),
        (r"$\boxed 5$", "5"),
        (r"$\boxed 12\%$, not $\boxed 7$", "7"),
        (r"$\boxed 7$, so \boxed{5}", "5"),
        (r"\boxed 5", None),
        (r"$\boxed 7$ or \boxed{5", None),
    ],
)
def test_a_box_without_braces_ends_with_its_formula(text: str, inside: str | None) -> None:
    assert last_box(text) == inside


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 5.\nAnswer: 6\n7", " 5."),
        ("So 5.\nAnswer: 6\nAnswer: 7\nBye", "7"),
        ("Answer: St. Louis", "St. Louis"),
        ("Answer: St. Louis\nIt is a town.", None),
        ("Answer: 5 because 2 + 3 = 5.\nBye", "5"),
        ("My answer: 5", None),
        ("#### 5", "5"),
        ("#### Step 5\nwe add", None),
        ("First\n\n5 \n", "5"),
        ("First\nn = 5", None),
    ],
)
def test_the_final_answer_is_stated_or_headed_or_the_last_line(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_a_last_line_that_may_not_be_the_last_is_no_answer() -> None:
    assert final_answer("5", ended=False) is None
    assert final_answer("5", cut=True) is None
    assert final_answer("Answer: 5\nSo", cut=True) is None
    assert final_answer("Answer: 5", ended=False) == "5"
    assert final_answer("Paris", holds=str.isalpha) == "Paris"
