"""Evaluations of known truth: six cases, each with what is planted in the answers of two servers.

Which of the two routes answers an item right is planted by number, so that the true difference of a
case is exact. `answers` are the replies of a server that plays a route, `judge` those of one that
judges.
"""

import json
from dataclasses import dataclass
from typing import Any

MARGIN = 0.1

RIGHT = {"both": ("today", "open"), "only_today": ("today",), "only_open": ("open",), "neither": ()}


@dataclass(frozen=True)
class Case:
    """How many items each of the routes answers right, and the fault that is planted.

    broken: of the right answers of `open`, each so-many-th comes in a form that the scorer cannot
    read. self_preference: the judge prefers the answers of `open` whatever they say.
    """

    both: int
    only_today: int
    only_open: int
    neither: int
    broken: int = 0
    self_preference: bool = False

    @property
    def cells(self) -> list[str]:
        """The cell of each item; the order mixes them."""
        counts = {name: getattr(self, name) for name in RIGHT}
        places = [((k + 0.5) / counts[name], name) for name in RIGHT for k in range(counts[name])]
        return [name for _, name in sorted(places)]

    @property
    def difference(self) -> float:
        """Accuracy of open minus that of today."""
        return (self.only_open - self.only_today) / len(self.cells)

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items: sums, with their right answers."""
        return [
            {"item_id": f"sum-{i}", "prompt": f"What is {i} + 1?", "reference": i + 1}
            for i in range(len(self.cells))
        ]

    def text(self, side: str, prompt: str) -> str:
        """The answer of a side to an item's prompt."""
        number = int(prompt.split()[-3])
        right = side in RIGHT[self.cells[number]]
        answer = number + 1 if right else number + 2
        if side == "open" and right and self.broken and number % self.broken == 0:
            return "The sum is as you would expect it to be."
        manner = "Indeed, the answer is" if side == "open" else "The answer is"
        return f"{manner} {answer}."


CASES = {
    "better": Case(both=30, only_today=2, only_open=12, neither=6),
    "non-inferior": Case(both=50, only_today=1, only_open=1, neither=8),
    "worse": Case(both=25, only_today=25, only_open=5, neither=5),
    "too few items": Case(both=12, only_today=1, only_open=1, neither=1),
    "broken scorer": Case(both=48, only_today=3, only_open=3, neither=6, broken=3),
    "judge prefers itself": Case(
        both=30, only_today=18, only_open=2, neither=10, self_preference=True
    ),
}


def answers(scripted, case, side):
    """The replies of a server that plays a route."""

    def reply(body, n):
        return scripted.Reply(case.text(side, body["messages"][-1]["content"]), served_model=side)

    return reply


def judge(scripted, case):
    """The replies of a judge: by the truth, or in favour of its own manner."""

    def grade(task, text):
        number = int(task.split()[-3])
        own = case.self_preference and text.startswith("Indeed")
        return 5 if own or f" {number + 1}." in text else 1

    def reply(body, n):
        shown = json.loads(body["messages"][-1]["content"])
        if "answer" in shown:
            verdict = {"reason": "made up", "grade": grade(shown["task"], shown["answer"])}
        else:
            first, second = (grade(shown["task"], shown[place]) for place in ("first", "second"))
            better = "equal" if first == second else "first" if first > second else "second"
            verdict = {"reason": "made up", "better": better}
        return scripted.Reply(json.dumps(verdict), served_model="open")

    return reply
