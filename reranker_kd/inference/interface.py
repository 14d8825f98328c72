"""What runs a network, and what it must offer; each backend is a value of :class:`Backend`, found in ``BACKENDS``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from reranker_kd.errors import ModelError
from reranker_kd.inference.batching import Arrays
from reranker_kd.types import FloatArray


class Runner(Protocol):
    """A network ready to run."""

    name: str
    precision: str
    device: str
    workers: int
    """Threads that should call :meth:`run` at a time."""
    batch_tokens: int
    """Tokens of a batch, padding included, that suit this backend: enough to fill it, few enough to stay in caches."""
    length_step: int
    """Lengths are padded to multiples of this; above 1 the number of rows is kept to few values too."""

    def run(self, arrays: Arrays) -> FloatArray:
        """Return the network's rows, float32 (n, d), for arrays of shape (n, tokens)."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to run networks.

    :param name: on the command line, in recipes and in provenance
    :param packages: that must be installed, each to be had by ``pip install`` under its name
    :param preference: how soon ``auto`` takes it, the highest first, for a device (``cpu``, ``cuda``) and whether the
        network will run in bfloat16 there; None where it does not run, or not well
    :param make: from a torch network, whether it takes token types, a precision and a device to a runner
    :param suffix: of an exported network's file; empty where there is nothing to export
    :param export: writes a float32 torch network into a file: ``export(network, path, with_types=, precision=,
        examples=)``, where int8 takes its ranges from the examples
    :param open: from an exported network's file and a precision to a runner
    """

    name: str
    packages: tuple[str, ...]
    preference: Callable[[str, bool], int | None]
    make: Callable[..., Runner]
    suffix: str = ""
    export: Callable[..., None] | None = None
    open: Callable[[Path, str], Runner] | None = None

    def installed(self) -> bool:
        """Tell whether all its packages are there."""
        return all(find_spec(package) for package in self.packages)

    def check_installed(self, *more: str) -> None:
        """Raise :class:`ModelError` with the command that installs the first package that is missing."""
        for package in (*self.packages, *more):
            if find_spec(package) is None:
                raise ModelError(f"{package} is not installed: pip install {package}")


Examples = Sequence[Arrays]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
