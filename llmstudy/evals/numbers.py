"""The numbers of a text, read as they are written.

Decimals, thousands in the usual groupings, signs, fractions, powers of ten, percent and words such
as million. What is no number, or two, such as 1,5 or 10.1.2024 or 12:30, has no value.
"""

import re
from fractions import Fraction
from typing import NamedTuple


class Number(NamedTuple):
    """A number of a text; value is None where it can be read in two ways."""

    text: str
    value: Fraction | None
    percent: bool


_NUMBER = re.compile(
    r"(?P<sign>(?:(?<=^)|(?<=[\s$€£¥(\[{=:*~≈]))[-−–+]\s?[$€£¥]?)?"
    r"(?:(?<=\s)|(?<=^)|(?<![\w.,/])(?<![a-z][-–]))"
    r"(?:(?P<whole>\d+)[ \u00a0](?=\d+/\d))?"
    r"(?P<digits>\d{4}-\d\d-\d\d|\d{1,2}:\d\d(?::\d\d)?"
    r"|\d(?:[\d.,\u00a0\u202f'’]*\d)?(?: \d{3}\b)*|\.\d+)"
    r"(?:[eE](?P<e>[-+]?\d+)|\s*(?:×|x|\\times|\\cdot|\*)\s*10\^\{?(?P<ten>[-−+]?\d+)\}?)?"
    r"(?P<under>(?:/\d+)+)?"
    r"(?:(?P<short>k|m|bn?)\b|\s*(?P<percent>\\?%|per ?cent\b)"
    r"|\s+(?P<word>thousand|million|billion|trillion)\b)?",
    re.I,
)
_POWER = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SHORT = {"k": 3, "m": 6, "b": 9, "bn": 9}
"""After money alone, but for k: 5m may be metres."""
_LONGEST = 300
"""Characters of a number; Python refuses to read much longer ones."""
_CODE = re.compile(r"\b(?:USD|EUR|GBP|CHF|JPY)\s*$")
_WHOLE = re.compile(
    r"\d+|\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d{1,3}(?:[\u00a0\u202f'’]\d{3})+"
)
"""Digits, or groups of three by comma, narrow space or apostrophe, or as in India."""
_POINTS = re.compile(r"\d{1,3}(?:\.\d{3}){2,}")


def numbers(text: str) -> list[Number]:
    r"""The numbers of a text in order.

    >>> [str(n.value) for n in numbers("$20.00, 1,000, 1.2 million, -3, 1 1/2, \\frac{3}{4}, 5 %")]
    ['20', '1000', '1200000', '-3', '3/2', '3/4', '5']
    >>> [n.value for n in numbers("1,5 or version 1.2.3 of 10.1.2024")]
    [None, None, None]
    """
    text = text.replace("{,}", ",").replace("\\,", "").replace("\\$", "$").replace("\\%", "%")
    text = re.sub(r"\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}", r"\1/\2", text)
    return [_number(match) for match in _NUMBER.finditer(text)]


def _number(match: re.Match[str]) -> Number:
    value = _magnitude(match["digits"]) if len(match[0]) <= _LONGEST else None
    if value is not None:
        if match["under"]:
            parts = match["under"].split("/")[1:]
            # more than one is a date
            value = value / int(parts[0]) if len(parts) == 1 and int(parts[0]) else None
        power = match["e"] or match["ten"]
        if value is not None and power:
            exponent = int(power.replace("−", "-"))
            value = value * Fraction(10) ** exponent if abs(exponent) <= 308 else None
    if value is not None:
        power_of_word = _POWER.get((match["word"] or "").casefold(), 0)
        short, start = (match["short"] or "").casefold(), match.start("digits")
        before = match.string[max(start - 5, 0) : start]
        if short == "k" or before.rstrip()[-1:] in ("$", "€", "£", "¥") or _CODE.search(before):
            power_of_word = _SHORT.get(short, power_of_word)
        value = (value + int(match["whole"] or 0)) * 10**power_of_word
        if (match["sign"] or "").strip()[:1] in ("-", "−", "–"):
            value = -value
    return Number(match[0].strip(), value, bool(match["percent"]))


def _magnitude(digits: str) -> Fraction | None:
    """The value of digits with their points and commas; None if it can be read in two ways."""
    whole, point, decimals = digits.rpartition(".")
    if _WHOLE.fullmatch(digits):
        return Fraction(re.sub(r"\D", "", digits))
    if point and decimals.isdigit() and (not whole or _WHOLE.fullmatch(whole)):
        return Fraction(f"{re.sub(r'[^0-9]', '', whole) or '0'}.{decimals}")
    if _POINTS.fullmatch(digits):
        return Fraction(digits.replace(".", ""))
    return None
