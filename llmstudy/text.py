"""How is a number or a list written? The same way in the memo's prose, its tables and its charts.

Numbers are rounded to what a reader can use and have their unit, but never a dollar sign, since
Markdown turns `$` into mathematics.

A formatter takes a number and, optionally, a second one that it is shown beside: both then have
the same unit ("USD 0.9M to 1.3M", not "USD 900k to 1.3M").
"""

import math
from collections.abc import Callable, Iterable
from typing import Any
from unicodedata import category

Format = Callable[..., str]
"""A formatter: (x) or (x, beside) -> text."""

_MINUS = "−"
_UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def usd(x: float, beside: float | None = None) -> str:
    """Money, to two or three digits.

    Raises: ValueError if x is not finite.

    >>> usd(1_234_000), usd(480_000), usd(2.5), usd(0.005), usd(-20_000)
    ('USD 1.2M', 'USD 480k', 'USD 2.50', 'USD 0.0050', '−USD 20k')
    """
    return f"{_sign(x)}USD {_amount(abs(x), beside)}"


def signed_usd(x: float) -> str:
    """A difference of two amounts, with its sign; 0 below half a dollar.

    Raises: ValueError if x is not finite.

    >>> signed_usd(12_000), signed_usd(-12_000), signed_usd(0.2)
    ('+USD 12k', '−USD 12k', '0')
    """
    return "0" if abs(x) < 0.5 else f"{'+' if x > 0 else ''}{usd(x)}"


def count(x: float, beside: float | None = None) -> str:
    """A number of things, in full up to 9,999.

    Raises: ValueError if x is not finite.

    >>> count(9_000), count(12_345), count(1_234_000), count(1_479.6), count(2.5), count(-3)
    ('9,000', '12k', '1.2M', '1,480', '2.5', '−3')
    """
    sign, size = _sign(x), abs(x)
    if size < 9_999.5 and (size >= 9.95 or float(size).is_integer()):
        return f"{sign}{size:,.0f}"
    return f"{sign}{_amount(size, beside, cents=False)}"


def share(x: float, beside: float | None = None) -> str:
    """A share (0..1) as a percentage; only exactly 0 and 1 are written as 0 % and 100 %.

    Raises: ValueError if x is not finite.

    >>> share(0.83), share(0.052), share(0.9996), share(1), share(-0.218), share(0.00001)
    ('83 %', '5.2 %', '>99 %', '100 %', '−22 %', '<0.01 %')
    """
    sign, percent = _sign(x), 100 * abs(x)
    if 0 < percent < 0.01:
        return f"{sign}<0.01 %"
    if 99.5 <= percent < 100:
        return f"{sign}>99 %"
    decimals = _percent_decimals(percent)
    if percent < 9.95:
        decimals = max(decimals, _percent_decimals(100 * abs(beside or 0)))
    return f"{sign}{percent:,.{decimals}f} %"


def allowed_loss(mark: float) -> str:
    """A pass mark, the lowest difference of two shares that passes, in percentage points.

    >>> allowed_loss(-0.016987), allowed_loss(0.0021)
    ('a loss of at most 1.7 points', 'a gain of at least 0.2 points')
    """
    side = "gain of at least" if mark > 0 else "loss of at most"
    return f"a {side} {100 * abs(mark):.1f} points"


def span(low: float | None, high: float | None, fmt: Format) -> str:
    """A range with its unit written once, and "never" for an end that is not reached.

    Raises: ValueError if low > high.

    >>> span(900_000, 1_300_000, usd), span(-20_000, 30_000, usd), span(0.05, 0.12, share)
    ('USD 0.9M to 1.3M', '−USD 20k to USD 30k', '5 to 12 %')
    >>> span(9_000, None, count)
    '9,000 to never'
    """
    if low is None or _never(low):
        return "never"
    if high is None or _never(high):
        return f"{fmt(low)} to never"
    if low > high:
        raise ValueError(f"a range from {low:g} to {high:g} runs backwards: swap its ends.")
    first, last = fmt(low, high), fmt(high, low)
    if first == last:
        return first
    return f"{first.removesuffix(' %')} to {last.removeprefix('USD ') if low >= 0 else last}"


def never_or(x: float | None, fmt: Format) -> str:
    """A number, or "never" where a table holds null or infinity.

    >>> never_or(None, usd), never_or(float("inf"), count), never_or(2_100_000, count)
    ('never', 'never', '2.1M')
    """
    return "never" if _never(x) else fmt(x)


def _never(x: float | None) -> bool:
    return x is None or not math.isfinite(x)


def _sign(x: float) -> str:
    if not math.isfinite(x):
        raise ValueError(f"{x} cannot be written as an amount: use never_or.")
    return _MINUS if x < 0 else ""


def _amount(x: float, beside: float | None, cents: bool = True) -> str:
    """x >= 0 in thousands, millions or billions, or in the unit of a larger number beside it."""
    unit, letter = _unit(x)
    if beside is not None:
        larger, its_letter = _unit(max(x, abs(beside)))
        if x >= larger / 2:
            unit, letter = larger, its_letter
    scaled = x / unit
    if letter == "" and 0 < scaled < 1:
        decimals = 1 - math.floor(math.log10(scaled))
    else:
        decimals = 0 if scaled == 0 or scaled >= 9.95 else 2 if letter == "" and cents else 1
    return f"{scaled:,.{decimals}f}{letter}"


def _unit(x: float) -> tuple[float, str]:
    """The largest unit of which x, once rounded, has at least one."""
    return next(((u, s) for u, s in _UNITS if x >= 0.9995 * u), _UNITS[-1])


def _percent_decimals(percent: float) -> int:
    """Decimals for two significant digits below 10 %, without trailing zeros."""
    if percent >= 9.95:
        return 0
    digits = f"{percent:.{1 - math.floor(math.log10(percent))}f}" if percent > 0 else "0"
    return len(digits.rstrip("0").partition(".")[2])


def opening(text: str) -> str:
    """A text with its first letter in upper case, to start a sentence.

    >>> opening("API price drift"), opening("growth")
    ('API price drift', 'Growth')
    """
    return text[:1].upper() + text[1:]


def unshowable(character: str) -> bool:
    """Whether a character must not be shown: a control code, a direction mark, a non-character.

    >>> unshowable("\x1b"), unshowable("\u202e"), unshowable("é")
    (True, True, False)
    """
    code = ord(character)
    return (
        category(character) in ("Cc", "Cs")
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or 0xFDD0 <= code <= 0xFDEF
        or code & 0xFFFE == 0xFFFE
    )


def excerpt(text: str, most: int = 60) -> str:
    """The first `most` characters of a user's text, to quote it in a message.

    >>> excerpt("x" * 100, 8)
    'xxxxxxx…'
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def listed(names: list[str]) -> str:
    """Names joined by commas and "and".

    >>> listed(["chat", "search", "tagging"])
    'chat, search and tagging'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def refuse(names: Iterable[Any], fault: str, what: str = "item") -> None:
    """Refuses things with a fault, by the first of their names; nothing where there are none.

    Raises: ValueError.

    >>> refuse(["a", "b", "a"], "without a score: score them")
    Traceback (most recent call last):
    ValueError: 2 items without a score: score them (first: a, b)
    """
    texts = [str(name) for name in dict.fromkeys(names)]
    if texts:
        raise ValueError(
            f"{len(texts)} {what}{'s'[: len(texts) > 1]} {fault} (first: {', '.join(texts[:3])})"
        )
