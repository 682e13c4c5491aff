"""A number with its range, grade and source; and an interval.

Every figure that a decision rests on is a `Figure`: value, unit, range, grade, source and date.
Its distribution is given by quantiles, so that one set of uniform draws (common random numbers)
feeds Monte Carlo and sensitivity analysis alike.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Grade = Literal["measured", "recorded", "published", "secondary", "assumed", "simulated"]
"""How reliable a figure is, best first.

measured: from the organisation's own log, invoice, probe or evaluation. recorded: by this project's
own probe on other hardware. published: a primary source. secondary: a page that quotes one.
assumed: a judgement. simulated: drawn from a published shape.
"""

GRADES: tuple[Grade, ...] = get_args(Grade)

_G = TypeVar("_G", bound=str)


def least_certain(grades: Iterable[_G]) -> _G:
    """The grade of a result that rests on several figures: the worst of theirs.

    Raises: ValueError for no grades, or for a text that is not a grade.

    >>> least_certain(["measured", "assumed", "published"])
    'assumed'
    """
    return max(grades, key=GRADES.index)


Distribution = Literal["fixed", "uniform", "loguniform", "triangular", "lognormal"]

DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)

FloatArray = npt.NDArray[np.float64]

_Z90 = float(ndtri(0.9))


def first_least(x: npt.ArrayLike, axis: int = -1) -> npt.NDArray[np.int64]:
    """Position of the first smallest value along an axis; values equal to nine digits are ties.

    The last digits of a sum differ between processors, and must not decide between equals.
    x: any shape. Returns: the shape of x without that axis.

    >>> int(first_least([3.0, 1.0 + 1e-15, 1.0]))
    1
    """
    values = np.asarray(x, dtype=float)
    least = values.min(axis=axis, keepdims=True)
    return np.asarray((values <= least + 1e-9 * np.abs(least)).argmax(axis=axis))


@dataclass(frozen=True)
class Interval:
    """An estimate with the two ends of its interval, in the unit of the estimate."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Figure:
    """A value with its unit, range, grade, source and date.

    `low` and `high` are the bounds of a uniform, log-uniform or triangular distribution and the
    10th and 90th percentiles of a log-normal one. `expires` is the day from which the figure must
    not be used any more.

    >>> price = Figure("h100", 2.29, "USD/h", 2.0, 6.88, "loguniform", "published", "catalogue")
    >>> price.quantile(np.array([0.0, 0.5, 1.0])).round(2).tolist()
    [2.0, 3.71, 6.88]
    """

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    distribution: Distribution = "fixed"
    grade: Grade = "assumed"
    source: str = ""
    as_of: date | None = None
    expires: date | None = None

    def __post_init__(self) -> None:
        """Refuses a value that is not finite, or a range that cannot be drawn from."""
        if fault := self._fault():
            raise ValueError(f"{self.name} {fault}.".lstrip())

    def _fault(self) -> str | None:
        """What is wrong with the figure, to follow its name in a sentence; None if nothing is."""
        kind = self.distribution
        if kind not in DISTRIBUTIONS:
            return f"has the distribution {kind!r}, but must have one of {', '.join(DISTRIBUTIONS)}"
        if kind != "fixed" and (self.low is None or self.high is None):
            return f"is {kind}, so its range needs low and high"
        if not math.isfinite(self.value):
            return f"is {self.value:g}, but must be a finite number"
        low, high = self.ends
        span = f"[{low:g}, {high:g}]"
        if not low <= self.value <= high:
            return f"with value {self.value:g} lies outside its range {span}"
        if math.isinf(low) or math.isinf(high):
            return f"has the range {span}, but both ends must be finite"
        if kind in ("loguniform", "lognormal") and low <= 0:
            return f"is {kind}, so its range {span} must be above zero"
        return None

    @property
    def ends(self) -> tuple[float, float]:
        """Low and high; the value itself where an end is not given.

        >>> Figure("h100", 2.29, "USD/h").ends, Figure("h100", 2.29, "USD/h", high=6.88).ends
        ((2.29, 2.29), (2.29, 6.88))
        """
        low = self.value if self.low is None else self.low
        return low, self.value if self.high is None else self.high

    @property
    def uncertain(self) -> bool:
        """Whether the figure varies between draws."""
        return self.distribution != "fixed" and self.low != self.high

    def quantile(self, u: FloatArray) -> FloatArray:
        """Inverse distribution function. u: any shape, in [0, 1]. Returns the same shape.

        The log-normal takes its median from the geometric mean of low and high, and is
        clipped at its 0.1 % and 99.9 % quantiles, so that no single draw decides a mean.
        """
        u = np.asarray(u, dtype=float)
        if not self.uncertain:
            return np.full(u.shape, self.value)
        assert self.low is not None
        assert self.high is not None
        low, high = self.low, self.high
        if self.distribution == "uniform":
            return low + (high - low) * u
        if self.distribution == "loguniform":
            return np.asarray(low * (high / low) ** u)
        if self.distribution == "triangular":
            share = (self.value - low) / (high - low)
            left = low + np.sqrt(u * (high - low) * (self.value - low))
            right = high - np.sqrt((1 - u) * (high - low) * (high - self.value))
            return np.where(u < share, left, right)
        z = ndtri(np.clip(u, 0.001, 0.999))
        sigma = np.log(high / low) / (2 * _Z90)
        return np.asarray(np.sqrt(low * high) * np.exp(sigma * z))

    def row(self) -> dict[str, Any]:
        """The figure as a row of the ledger."""
        return asdict(self)


Number = float | FloatArray
"""A number, or an array that broadcasts with the other arguments."""
