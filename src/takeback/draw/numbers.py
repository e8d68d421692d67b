"""Numbers as a reader wants them: few digits, a real minus sign, intervals in brackets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

ABSENT = "–"
"""What stands where a value is missing: never a blank and never a zero."""


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with fixed digits; what would round to zero without being it keeps two figures.

    >>> number(-0.1234), number(0.00002), number(0.0), number(None)
    ('−0.123', '2.0×10⁻⁵', '0.000', '–')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    if value != 0 and abs(value) < 0.5 * 10**-digits:
        return _scientific(value)
    return f"{value:,.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """Write a difference with its sign.

    >>> signed(0.25), signed(-0.25), signed(0.0)
    ('+0.250', '−0.250', '0.000')
    """
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and text != ABSENT else text


def short(value: float, digits: int, sign: bool = False) -> str:
    """Write a value for a small place: rounded, a plain 0 where nothing is left of it.

    >>> short(-0.00004, 3), short(0.0123, 3, sign=True)
    ('0', '+0.012')
    """
    if round(value, digits) == 0:
        return "0"
    return signed(value, digits) if sign else number(value, digits)


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Write an interval, or say that it is unknown.

    >>> interval(-0.02, 0.1), interval(None, None)
    ('[−0.020, 0.100]', '[interval unknown]')
    """
    if low is None or high is None:
        return "[interval unknown]"
    return f"[{number(low, digits)}, {number(high, digits)}]"


def percent(value: float | None, digits: int | None = None) -> str:
    """Write a fraction as a percentage: one decimal below 10%, none above, unless told.

    >>> percent(0.0234), percent(0.52), percent(-0.3), percent(0.0001), percent(1.0), percent(0.9999)
    ('2.3%', '52%', '−30%', '<0.1%', '100%', '>99.9%')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0%"
    if digits is None:
        if 0 < abs(value) < 0.0005:
            return "<0.1%" if value > 0 else "≈0%"
        if 0.9995 <= value < 1:
            return ">99.9%"
        digits = 1 if abs(value) < 0.0995 or 0.9905 <= value < 1 else 0
    if 0 < 100 * value < 0.5 * 10**-digits:
        return f"<{10**-digits:g}%"
    return f"{100 * value:.{digits}f}%".replace("-", "−")


def share(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Write a share with its interval, where there is one that has a width.

    >>> share(0.5, 0.42, 0.581), share(1.0, 1.0, 1.0), share(0.5, None, None)
    ('50% [42%, 58%]', '100%', '50%')
    """
    if low is None or high is None or low == high:
        return percent(value)
    return f"{percent(value)} [{percent(low)}, {percent(high)}]"


def estimate(
    value: float | None, low: float | None, high: float | None, write: Callable[[float], str] = number
) -> str:
    """Write a value with its interval, where that is known.

    >>> estimate(0.5, 0.42, 0.581), estimate(0.5, None, None, signed), estimate(None, None, None)
    ('0.500 [0.420, 0.581]', '+0.500', '–')
    """
    if value is None or low is None:
        return ABSENT if value is None else write(value)
    return f"{write(value)} {interval(low, high)}"


def at_most(bound: float | None, detectable: float | None = None, power: bool = False) -> str:
    """Say of what is not told from 0 how large it can be, and what size would have been seen.

    Args:
        bound: the largest size that its 95% interval does not rule out.
        detectable: the smallest size that 80% of such tests would see.
        power: say of a size that is not known that none would be.

    >>> at_most(0.0123, 0.02, power=True), at_most(0.3), at_most(None, None, power=True)
    ('no larger than 0.012 (80% power for 0.020)', 'no larger than 0.30', 'of any size (no power for any)')
    """
    told = "of any size" if bound is None else f"no larger than {_figures(bound)}"
    if detectable is None:
        return told + (" (no power for any)" if power else "")
    return f"{told} (80% power for {_figures(detectable)})"


def _figures(value: float) -> str:
    """Write a size with two figures, more where it has more before the point."""
    if value == 0 or not math.isfinite(value):
        return number(value, 0)
    return number(value, max(0, 1 - math.floor(math.log10(abs(value)))) if value >= 5e-5 else 3)


def span(low: float | None, high: float | None, write: Callable[[float], str] = percent) -> str:
    """Write two ends in words, or that they are unknown.

    >>> span(-0.02, 0.1), span(1, 2.5, number), span(None, None)
    ('−2.0% to 10%', '1.000 to 2.500', '–')
    """
    return ABSENT if low is None or high is None else f"{write(low)} to {write(high)}"


def range_of(values: Iterable[float], write: Callable[[float], str] = number) -> str:
    """Write the least and the largest of values, of which there may be none.

    >>> range_of([0.5, 0.25, 1.0]), range_of([])
    ('0.250 to 1.000', '–')
    """
    given = list(values)
    return f"{write(min(given))} to {write(max(given))}" if given else ABSENT


def count(value: float, noun: str, plural: str = "") -> str:
    """Write a count with its noun.

    >>> count(1, "seed"), count(1200, "situation"), count(2, "box", "boxes")
    ('1 seed', '1,200 situations', '2 boxes')
    """
    return f"{value:,.0f} {noun if value == 1 else plural or noun + 's'}"


def listed(names: list[str], most: int = 8) -> str:
    """Join names, the first few of many and how many more there are.

    >>> listed(["L0.H1", "L2.MLP"]), listed(["a", "b", "c", "d"], most=2)
    ('L0.H1, L2.MLP', 'a, b and 2 more')
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def listing(parts: list[str]) -> str:
    """Join words as a sentence does.

    >>> listing(["a"]), listing(["a", "b"]), listing(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}×10{power}".replace("-", "−")
