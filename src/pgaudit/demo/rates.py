"""Events per second, and how that went on."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pgaudit.demo.counts import Figures

BLOCKS: Final = "▁▂▃▄▅▆▇█"
HISTORY: Final = 32
OVER: Final = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Figures and when they were read, in seconds."""

    at: float
    figures: Figures


@dataclass
class Pace:
    """Rates over the last second, and the shape of what came before."""

    samples: deque[Sample] = field(default_factory=deque[Sample])
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    depths: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def note(self, figures: Figures) -> None:
        """Takes one more moment into account."""
        now = time.monotonic()
        self.samples.append(Sample(now, figures))
        while self.samples[0].at < now - OVER:
            self.samples.popleft()
        self.rates.append(self.logged)
        self.depths.append(figures.queued)

    @property
    def changes(self) -> float:
        """Returns the committed changes per second."""
        first, last = self.samples[0], self.samples[-1]
        return (last.figures.changes - first.figures.changes) / max(last.at - first.at, OVER / 2)

    @property
    def logged(self) -> float:
        """Returns the events per second that reach the audit log."""
        first, last = self.samples[0], self.samples[-1]
        return (last.figures.logged - first.figures.logged) / max(last.at - first.at, OVER / 2)


def sparkline(values: Sequence[float]) -> str:
    """Returns values as blocks of different height; the highest is a full block.

    >>> sparkline([0, 1, 2])
    '▁▅█'
    """
    top = max(values, default=0) or 1
    return "".join(BLOCKS[min(int(value / top * len(BLOCKS)), len(BLOCKS) - 1)] for value in values)
