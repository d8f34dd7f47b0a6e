"""One ratio of two times, and its goal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Verdict = Literal["met", "not met", "no goal"]


class Side(NamedTuple):
    """One of the two things that are timed: what it is, and how long it takes."""

    what: str
    seconds: float


@dataclass(frozen=True)
class Ratio:
    """Seconds of `above` over seconds of `below`.

    goal: None where there is none. bound: the side of the goal on which it is met; on the goal
        itself it is met.
    details: further numbers that belong to it, by name.
    """

    name: str
    above: Side
    below: Side
    goal: float | None = None
    bound: Literal["at most", "at least"] = "at most"
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        return self.above.seconds / self.below.seconds

    @property
    def verdict(self) -> Verdict:
        if self.goal is None:
            return "no goal"
        good = self.value <= self.goal if self.bound == "at most" else self.value >= self.goal
        return "met" if good else "not met"

    @property
    def target(self) -> str:
        """The goal in signs, such as `<= 1.15`; empty where there is none."""
        if self.goal is None:
            return ""
        return f"{'<=' if self.bound == 'at most' else '>='} {self.goal:g}"

    def as_dict(self) -> dict[str, Any]:
        """Return the ratio as JSON has it; times in seconds."""
        return {
            "name": self.name,
            "ratio": self.value,
            "goal": self.goal,
            "wanted": self.bound if self.goal is not None else None,
            "verdict": self.verdict,
            "above": self.above._asdict(),
            "below": self.below._asdict(),
            "details": dict(self.details),
        }
