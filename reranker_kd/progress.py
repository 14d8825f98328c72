"""Progress of long work on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from typing import Protocol, TextIO

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total_fmt}, {rate_fmt}, {elapsed} elapsed, {remaining} left"


class Advance(Protocol):
    """What the caller of :func:`progress_bar` holds."""

    def advance(self, n: float = 1) -> None:
        """Count n more units as done."""

    def resume(self, n: float) -> None:
        """Count n units as done before the start: they bear on no rate."""


@contextmanager
def progress_bar(
    description: str, total: int | None, unit: str, *, quiet: bool = False, stream: TextIO | None = None
) -> Iterator[Advance]:
    """Show units done of the total, units a second, the time that passed and the time that is left.

    :param description: what is being done, such as ``reranking``
    :param total: units of work in all; None where it is not known beforehand
    :param unit: their name in the plural, such as ``pairs``
    :param quiet: show nothing
    :param stream: where to, stderr by default
    """
    # Whoever starts this program may have closed its stderr.
    stream = StringIO() if quiet else stream or sys.stderr or StringIO()
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        from tqdm import tqdm

        class Bar(tqdm):
            def advance(self, n: float = 1) -> None:
                self.update(n)

            def resume(self, n: float) -> None:
                self.initial += n
                self.update(n)

        layout = {"unit": f" {unit}", "bar_format": _BAR, "dynamic_ncols": True, "smoothing": 0}
        with Bar(desc=description, total=total, file=stream, **layout) as bar:
            yield bar
        return
    lines = PlainProgress(description, total, unit, stream)
    try:
        yield lines
    finally:
        lines.write_line()


def note(message: str) -> None:
    """Write a line to stderr: what was found or chosen on the way."""
    print(message, file=sys.stderr or StringIO(), flush=True)


@dataclass
class PlainProgress:
    """Prints a line when at least ``interval`` seconds have passed since the last one, and one at the end.

    :param stream: where to
    :param interval: seconds
    :param clock: gives seconds that never go back
    """

    description: str
    total: int | None
    unit: str
    stream: TextIO
    interval: float = 10.0
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._done = self._before = 0.0
        self._start = self._last_line = self.clock()

    def advance(self, n: float = 1) -> None:
        """Count n more units as done."""
        self._done += n
        now = self.clock()
        if now - self._last_line >= self.interval and not self._is_finished():
            self._last_line = now
            self.write_line()

    def resume(self, n: float) -> None:
        """Count n units as done before the start: they bear on no rate."""
        self._before += n
        self._done += n

    def write_line(self) -> None:
        """Print what is done by now."""
        elapsed = self.clock() - self._start
        rate = (self._done - self._before) / elapsed if elapsed > 0 else 0.0
        of_total = "" if self.total is None else f"/{self.total}"
        line = f"{self.description}: {self._done:.0f}{of_total} {self.unit}, {rate:.1f} {self.unit}/s, "
        line += f"{_clock_time(elapsed)} elapsed"
        if rate and self.total is not None and not self._is_finished():
            line += f", {_clock_time((self.total - self._done) / rate)} left"
        print(line, file=self.stream, flush=True)

    def _is_finished(self) -> bool:
        # Shares of a unit add up to a little less than the whole.
        return self.total is not None and self._done > self.total - 0.5


def _clock_time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
