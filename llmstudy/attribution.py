"""Which change explains how much of the difference between two answers?

Two answers differ in several items: each has a value in the first world and one in the second. A
`value` gives the answer when the named items are taken from the second world and the rest from the
first. `in_order` changes one item after another, as a reader would; `shapley` does not depend on
the order. Both add up to the whole difference.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import factorial

Value = Callable[[frozenset[str]], float]
"""The answer when these items are taken from the second world."""


def shapley(value: Value, items: Sequence[str]) -> dict[str, float]:
    """Each item's share of value(all) - value(none), the mean over all orders of change.

    The only attribution that sums to the whole, gives alike items the same and an item that never
    matters nothing, and adds up over sums of values. Takes 2^n calls of `value` for n items.

    Raises: ValueError if an item is named twice.
    Source: Shapley (1953), Contributions to the Theory of Games II, 307-317.

    >>> def bill(changed):  # a price of 2 and a volume of 10 become 3 and 20
    ...     return (3 if "price" in changed else 2) * (20 if "volume" in changed else 10)
    >>> shapley(bill, ["price", "volume"])
    {'price': 15.0, 'volume': 25.0}
    """
    _refuse_twice(items)
    known = {subset: value(subset) for subset in _subsets(items)}
    n = len(items)

    def share(item: str) -> float:
        total = 0.0
        for before in known:
            if item in before:
                continue
            orders = factorial(len(before)) * factorial(n - len(before) - 1)
            total += orders * (known[before | {item}] - known[before])
        return total / factorial(n)

    return {item: share(item) for item in items}


def in_order(value: Value, items: Sequence[str]) -> dict[str, float]:
    """What each item adds when they are changed one after another, in the order given.

    Raises: ValueError if an item is named twice.

    >>> def bill(changed):
    ...     return (3 if "price" in changed else 2) * (20 if "volume" in changed else 10)
    >>> in_order(bill, ["price", "volume"]), in_order(bill, ["volume", "price"])
    ({'price': 10, 'volume': 30}, {'volume': 20, 'price': 20})
    """
    _refuse_twice(items)
    steps = [value(frozenset(items[:k])) for k in range(len(items) + 1)]
    return {item: steps[k + 1] - steps[k] for k, item in enumerate(items)}


def _subsets(items: Sequence[str]) -> list[frozenset[str]]:
    sizes = range(len(items) + 1)
    return [frozenset(chosen) for size in sizes for chosen in combinations(items, size)]


def _refuse_twice(items: Sequence[str]) -> None:
    if twice := sorted({item for item in items if items.count(item) > 1}):
        raise ValueError(f"items named twice: {', '.join(twice)}; name each once")
