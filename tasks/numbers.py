"""The exact number that a whole text states, or none: what is left over never goes unread.

It may have a sign, currency, groups of three, decimals, a power of ten, a fraction, percent, "million" and the like,
and words that say what is counted. The text is one line in the plain form of answers.py. Where customs differ:

- A comma groups and a point begins decimals: `1,234` is 1234, `1.234` is 1.234.
- It is the other way round only where nothing else makes sense: `1.234,5`, `1 234,5`, `1.234.567`, `3,50 €`.
- A lone comma in front of other than three digits may part a list: `1,5` is no number.
- Spaces, apostrophes and underscores group: `5 000`, `5'000` and `5_000` are 5000.
- A percentage is a hundredth: `50%` is 0.5. Brackets are no sign: `(5)` is 5.
- What is counted or measured is the question's: `5`, `$5` and `5 apples` are one number. A word that changes a number
  makes it none: `5 percentage points`, `5 per thousand`, `5 twelfths`, `5 tusen`, `5 May`, `5 xy`.
- A letter that may stand for thousands or millions makes it none: `5k`, `5 M`, `$5 m`, `5m`. `5 m` is a length.
- Numbers in words, Roman ones and rounded ones (`0.333...`, `about 5`) are text.
"""

import re
import unicodedata
from decimal import Decimal
from fractions import Fraction

MAX_DIGITS = 10_000
"""A number of more digits, written out, is not read."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SIGN = re.compile(r"(?:(\+|plus\b|positive\b)|(-|minus\b|negative\b)) ?")
_CODES = r"usd|eur|gbp|jpy|chf|inr|cny|rmb|aud|cad"
_SYMBOL = r"(?:(?:us|a|au|c|ca|nz|hk|s|r) ?)?[$€£¥₹₩₽₺₪฿₫₴₦]"
_CURRENCY_BEFORE = re.compile(rf"(?:{_SYMBOL}|rs\.?|{_CODES}) ?(?=[-+.\d(])")
_CURRENCY_AFTER = re.compile(rf" ?(?:{_SYMBOL}|¢|(?:{_CODES})\b)")
_PLAIN = r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_DECIMAL = "|".join(
    (
        r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?",
        r"[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?",  # India: 12,34,567
        r"[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,}(?:,[0-9]+)?",
        r"[1-9][0-9]{0,2}\.[0-9]{3},[0-9]+",
        *(rf"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+(?:[.,][0-9]+)?" for mark in (" ", "'", "_")),
        _PLAIN,
    )
)
_DIGITS = re.compile(r"[0-9]+")
_MONEY = re.compile(r"[0-9]+,[0-9]{2}(?![0-9,.])")
_NUMBER = re.compile(rf"(?:{_DECIMAL})(?![0-9])")
_POWER = re.compile(
    r"e([+-]?[0-9]+)(?![0-9.,])| ?[*x] ?10 ?(?:\^|\*\*) ?(?:([+-]?[0-9]+)|\(([+-]?[0-9]+)\))(?![0-9.,])"
)
_TEN_TO = re.compile(r"10 ?(?:\^|\*\*) ?(?:([+-]?[0-9]+)|\(([+-]?[0-9]+)\))(?![0-9.,])")
_FRACTION = re.compile(rf" ?/ ?({_DECIMAL})(?![0-9])")
_MIXED = re.compile(r"(?: | and |-and-)([1-9][0-9]*) ?/ ?([0-9]+)(?![0-9.,])")
_PERCENT = {"%": 100, "percent": 100, "per cent": 100, "pct": 100, "‰": 1000}
_SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 1000,
    "lakh": 10**5,
    "million": 10**6,
    "crore": 10**7,
    "billion": 10**9,
    "trillion": 10**12,
}
_SCALE = re.compile(rf" ?({'|'.join(_SCALES)})s?\b")
_GLUED = _words(
    "km cm mm kg mg g ml l ft lb lbs oz mph kmh kph hr hrs h min mins s sec secs kb mb gb tb kw kwh hz khz mhz ghz kcal"
)
_LETTERS = _words("m g l s h")
_POWERS = _words("m cm mm km ft in inch inches yd mi meters metres feet miles units s sec h")
_PER = re.compile(r" ?/ ?(?=[^\W\d_]{2})")
_MILLIONS = _words("m mm l")  # behind money: $5 m, ₹5 L
_SHORT = _words(
    """
    db ev kj ly fl iu tsp bpm am an as at by in of pm cl cm dl dm ft gb gm gw ha hr hz kb kg km kn kr kw lb mb mg mi
    ml mm ms mw nm ns oz pa pc pg pt qt sq tb us cu yd yr ct cc de zł µm μm cms cwt ghz hrs hwy khz kgs kms kph kwh
    lbs mhz mph mwh pcs ppl pts rpm sqm tbs wks yds yrs fps dry fly sky spy try dpi
    """
)
"""All that is read of two letters, and of three without a vowel; others are products, as in `5 xy`."""
_LETTERS_OF_FORMULAS = re.compile(r"[a-zα-ω]+")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_UNIT = re.compile(rf"({_WORD.pattern})(?:\^?(-?[23]))?(?:/({_WORD.pattern})(?:\^(-?[23]))?)?\.?")
_DEGREES = re.compile(r" ?°(?: ?[cf])?")
_MOST_WORDS = 6
_MOST_BRACKETS = 20
# Words that change the number in front of them, or join it with another one.
_CHANGING = _words(
    """
    thou bil tril zillion zillions gazillion gazillions ternary komma virgule coma virgola punkt hundred thousand
    million billion trillion lakh crore dozen grand mill quadrillions quintillion quintillions sextillion sextillions
    septillion octillion nonillion decillion googol lacs zero one two three four five six seven eight nine ten eleven
    twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy
    eighty ninety hundreds hundredth hundredths thousands thousandth thousandths millions billions trillions
    quadrillion lakhs lac crores dozens score gross myriad half halves third thirds quarter quarters fourth fourths
    fifth fifths sixth sixths seventh sevenths eighth eighths ninth ninths tenth tenths eleventh elevenths twelfth
    twelfths thirteenth thirteenths fourteenth fourteenths fifteenth fifteenths sixteenth sixteenths seventeenth
    seventeenths eighteenth eighteenths nineteenth nineteenths twentieth twentieths thirtieth thirtieths fortieth
    fortieths fiftieth fiftieths sixtieth sixtieths millionth millionths billionth billionths trillionth trillionths
    pi tau squared cubed root roots alpha beta gamma delta epsilon theta lambda mu nu rho sigma phi psi omega abc exp
    arcsin arccos arctan cot csc sqrt factorial power exponent log ln sin cos tan to and or nor plus minus over by
    divided multiplied point mod modulo base remainder not no negative if unless but either between until through
    percent percentage pct bp bps basis ppm ppb promille permille mil prozent procent pour por cento pm am noon
    morning afternoon evening night oclock past ad bc bce january february march april may june july august september
    october november december jan feb mar apr jun jul aug sep sept oct nov dec is isn are was were would could should
    can cannot might maybe perhaps possibly probably approximately approx roughly circa nearly almost ish odd binary
    octal decimal hex hexadecimal than least most above below under about twice double triple infinity mille mila
    milione milioni millón millones millionen milliard milliards milliarden miljoen miljard tausend hundert cien
    ciento cem bilhão bilhões milhão milhões demi demie medio media halb halbe und et oder mio mrd mln mld bn тысяч
    тысячи тысяча миллион миллиона миллионов млн млрд процент процента процентов tusen tusind duizend tysiąc tysiące
    tysięcy tisíc bin milyon milyar juta ribu ezer millió mii milioane milion miliony milionów miljon miljoner
    millioner milliarder ألف آلاف مليون 백 천 만 억 조 백만 천만
    """
)


def read_number(text: str) -> Fraction | None:
    """The value of `text` if it states one number and nothing else, exactly; else None."""
    negative, has_sign, money, num_brackets = False, False, False, 0
    while True:
        sign, currency = _SIGN.match(text), _CURRENCY_BEFORE.match(text)
        if sign and not has_sign:
            negative, has_sign, text = sign[2] is not None, True, text[sign.end() :]
        elif currency and not money:
            money, text = True, text[currency.end() :]
        elif num_brackets < _MOST_BRACKETS and text.startswith("(") and text.endswith(")"):
            num_brackets, text = num_brackets + 1, text[1:-1].strip()
        else:
            break
    found = _value(text, money)
    if found is None:
        return None
    value, end = found
    if "/" in text[:end] and text[end : end + 1].isalpha():  # 5/100g
        return None
    value_or_none = _rest(value, text[end:], money)
    return -value_or_none if negative and value_or_none is not None else value_or_none


def _value(text: str, money: bool) -> tuple[Fraction, int] | None:
    """The number that `text` begins with, and where it ends there."""
    if power := _TEN_TO.match(text):
        ten = _decimal("1", power[1] or power[2])
        return None if ten is None else (ten, power.end())
    if (euros := _MONEY.match(text)) and (money or _CURRENCY_AFTER.match(text, euros.end())):
        value = _decimal(euros[0].replace(",", "."))
        return None if value is None else (value, euros.end())
    number = _NUMBER.match(text)
    if number is None:
        return None
    if " " in number[0] and _MIXED.match(text, text.index(" ")):  # 2 101/102 is a mixed number
        number = _DIGITS.match(text)
        assert number is not None
    digits, end, exponent = _ungrouped(number[0]), number.end(), "0"
    if power := _POWER.match(text, end):
        exponent, end = power[1] or power[2] or power[3], power.end()
    value = _decimal(digits, exponent)
    if value is None or exponent != "0":
        return None if value is None else (value, end)
    if mixed := _MIXED.match(text, end):
        above, below = _decimal(mixed[1]), _decimal(mixed[2])
        if above is None or below is None or not above < below or "." in digits:
            return None
        return value + above / below, mixed.end()
    if fraction := _FRACTION.match(text, end):
        below = _decimal(_ungrouped(fraction[1]))
        return None if not below else (value / below, fraction.end())
    return value, end


def _ungrouped(number: str) -> str:
    """The digits of a number that _DECIMAL matches, with a point in front of its decimals if it has any."""
    plain = re.sub(r"[ '_]", "", number)
    commas, points = plain.count(","), plain.count(".")
    grouped = plain != number
    if points and commas and plain.rfind(",") > plain.rfind("."):  # 1.234,5
        return plain.replace(".", "").replace(",", ".")
    if points > 1:
        return plain.replace(".", "")
    return plain.replace(",", ".") if grouped else plain.replace(",", "")


def _decimal(digits: str, exponent: str = "0") -> Fraction | None:
    """`digits` times a power of ten; None for more than MAX_DIGITS digits."""
    whole, _, part = digits.partition(".")
    if len(exponent) > 6 or len(digits) + abs(int(exponent)) > MAX_DIGITS:
        return None
    power = int(exponent) - len(part)
    value = int(Decimal(whole + part))  # int(digits) stops at 4300
    return Fraction(value * 10**power) if power >= 0 else Fraction(value, 10**-power)


def _rest(value: Fraction, rest: str, money: bool) -> Fraction | None:
    """The value with what stands behind its digits; None where that cannot be read."""
    if rest.strip() in _PERCENT:
        return None if money else value / _PERCENT[rest.strip()]
    while scale := _SCALE.match(rest):
        value, rest = value * _SCALES[scale[1]], rest[scale.end() :]
    if currency := _CURRENCY_AFTER.match(rest):
        money, rest = True, rest[currency.end() :]
    elif degrees := _DEGREES.fullmatch(rest):
        rest = rest[degrees.end() :]
    return value if not rest or _names_unit(rest, money) else None


def _names_unit(rest: str, money: bool) -> bool:
    """Whether the words behind a number only say what is counted or measured."""
    rest = _PER.sub(" per ", rest) if _PER.match(rest) else rest  # 5/day
    words = rest.split()
    if len(words) > _MOST_WORDS or any(unicodedata.numeric(letter, None) for letter in rest if not letter.isascii()):
        return False
    if money and words[0].rstrip(".") in _MILLIONS:
        return False
    if not rest.startswith(" ") and not (len(words) == 1 and _is_glued(rest)):
        return False
    return all(_is_unit(word, last=i + 1 == len(words)) for i, word in enumerate(words))


def _is_glued(word: str) -> bool:
    """Whether a unit that follows the digits at once is one for sure: `5km`, `5m²`; `5m` may be 5 million."""
    unit = _UNIT.fullmatch(word)
    return unit is not None and (unit[1] in _GLUED or (unit[1] == "m" and bool(unit[2] or unit[3])))


def _is_unit(word: str, *, last: bool) -> bool:
    unit = _UNIT.fullmatch(word)
    if unit is None:
        return False
    for name, power in ((unit[1], unit[2]), (unit[3], unit[4])):
        if name is None:
            continue
        if name == ("square" if last else "times"):
            return False
        if any(part in _CHANGING for part in name.split("-")) or (power and name not in _POWERS):
            return False
        if len(name) == 1 and name not in _LETTERS and not (name == "a" and not last):
            return False
        if _is_product(name):
            return False
    return True


def _is_product(name: str) -> bool:
    """Whether a short word is rather letters that are multiplied, as in `5 xy` and `5 πr`."""
    if name in _SHORT or not 2 <= len(name) <= 3 or not _LETTERS_OF_FORMULAS.fullmatch(name):
        return False
    return len(name) == 2 or not set(name) & set("aeiou")
