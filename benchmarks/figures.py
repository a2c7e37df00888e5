"""Figures: taken several times, by turns with those that they are compared with."""

from dataclasses import dataclass, field
from statistics import median


@dataclass(slots=True)
class Figure:
    """One quantity. ``values`` are in the order of the rounds; ``short`` heads a column of multiples of it."""

    name: str
    short: str
    unit: str
    values: list[float] = field(default_factory=list)
    ours: bool = field(default=False, kw_only=True)

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """Half of what lies between the lowest and the highest, as a share of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.median if self.median else 0.0


def ratio(figure: Figure, other: Figure) -> float:
    """How many times the other one it is: the median of the rounds' own ratios, for a round is one stretch of time."""
    return median(mine / its if its else float("nan") for mine, its in zip(figure.values, other.values, strict=True))


Curves = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Target:
    """What a quantity should reach, at least or, if ``limit``, at most."""

    name: str
    value: float
    bound: float
    limit: bool = False

    @property
    def reached(self) -> bool:
        """Whether it does."""
        return self.value <= self.bound if self.limit else self.value >= self.bound
