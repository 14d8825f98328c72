"""Running systems in turns: each in a process of its own, one at work at a time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reranker_kd.benchmark.machine import matrix_product_rates
from reranker_kd.benchmark.network_cost import folder_bytes
from reranker_kd.benchmark.process import SystemProcess
from reranker_kd.benchmark.results import Timings
from reranker_kd.benchmark.systems import System
from reranker_kd.errors import ModelError

_WARM_PAIRS = 512
"""Pairs scored before anything is timed: enough to meet the lengths that there are."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What every system scores.

    :param qids: n queries
    :param queries: their texts
    :param docids: the candidates of each query
    :param texts: the candidates' texts
    """

    qids: tuple[str, ...]
    queries: tuple[str, ...]
    docids: tuple[tuple[str, ...], ...]
    texts: tuple[tuple[str, ...], ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every query with each of its candidates."""
        return [(query, text) for query, texts in zip(self.queries, self.texts, strict=True) for text in texts]


@dataclass(slots=True)
class Outcome:
    """What became of a system: measurements as they come in, or why it stopped.

    :param scores: of each query's candidates
    :param folder_bytes: bytes of the folder that is loaded
    :param error: one line; None where all went well
    """

    starts: list[float] = field(default_factory=list)
    passes: list[float] = field(default_factory=list)
    queries: list[tuple[float, ...]] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    description: dict[str, Any] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    folder_bytes: int | None = None
    peak_memory_bytes: int = 0
    error: str | None = None

    @property
    def timings(self) -> Timings:
        """The measurements."""
        return Timings(tuple(self.starts), tuple(self.passes), tuple(self.queries))


@dataclass(frozen=True, slots=True)
class Rounds:
    """The outcome of every system, and the machine's rate of matrix products in every round, by precision."""

    outcomes: dict[System, Outcome]
    rates: tuple[dict[str, float], ...]


def run_rounds(
    systems: Sequence[System],
    workload: Workload,
    keywords: Mapping[str, Any],
    *,
    repeats: int,
    on_event: Callable[[str], None],
) -> Rounds:
    """Start every system ``repeats`` times, then measure it ``repeats`` times, always in turns.

    The last process of a system lives through all rounds. A system that fails is left out from there on, and the
    others go on.

    :param keywords: what every model is loaded with: ``max_length``, and ``device`` where one was asked for
    :param on_event: called with a line about what was done
    """
    rates = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reranker-kd-benchmark-")))
        bench = _Bench(systems, workload, keywords, scratch, on_event)
        stack.callback(bench.stop_all)
        bench.turn(bench.prepare)
        for _ in range(repeats):
            bench.turn(bench.start)
        bench.turn(bench.warm)
        for _ in range(repeats):
            rates.append(matrix_product_rates(keywords.get("device")))
            bench.turn(bench.measure)
    return Rounds(bench.outcomes, tuple(rates))


class _Bench:
    """The systems at work, and what has come out of them so far."""

    def __init__(
        self,
        systems: Sequence[System],
        workload: Workload,
        keywords: Mapping[str, Any],
        scratch: Path,
        on_event: Callable[[str], None],
    ) -> None:
        self.outcomes = {system: Outcome() for system in systems}
        self._workload = workload
        self._keywords = keywords
        self._scratch = scratch
        self._on_event = on_event
        self._living: dict[System, SystemProcess] = {}
        self._sources: dict[System, str] = {}

    def turn(self, act: Callable[[System, Outcome], str]) -> None:
        """Let each system that has not failed do something; ``act`` says what came of it."""
        for system, outcome in self.outcomes.items():
            if outcome.error is not None:
                continue
            try:
                said = act(system, outcome)
            except ModelError as error:
                said = outcome.error = _with_remedy(system, error)
                self._stop(system)
            self._on_event(f"{system.name}: {said}")

    def prepare(self, system: System, outcome: Outcome) -> str:
        """Find the model, and let a peer convert it where it needs that; no part of any figure."""
        folder = system.folder
        source = system.model
        if system.peer:
            new = str(self._scratch / str(len(self._sources)))
            with SystemProcess(system.command) as process:
                # Peers know no names of ours.
                answer = process.ask("prepare", model=str(folder), folder=new, max_length=self._keywords["max_length"])
            source = answer["model"]
            folder = Path(source)
        self._sources[system] = source
        outcome.folder_bytes = None if folder is None else folder_bytes(folder)
        return "ready"

    def start(self, system: System, outcome: Outcome) -> str:
        """Start a fresh process in place of the one before, and time it up to the first score."""
        self._stop(system)
        process = self._living[system] = SystemProcess(system.command)
        asked = {"backend": system.backend, "precision": system.precision}
        keywords = {**self._keywords, **{name: value for name, value in asked.items() if value is not None}}
        answer = process.ask("start", model=self._sources[system], keywords=keywords, pair=self._workload.pairs[0])
        outcome.starts.append(time.perf_counter() - process.started)
        outcome.description = answer["description"]
        return f"first score after {outcome.starts[-1]:.1f} s"

    def warm(self, system: System, outcome: Outcome) -> str:
        """Hand the queries over, and have some scored untimed."""
        queries = list(zip(self._workload.queries, self._workload.texts, strict=True))
        outcome.software = self._living[system].ask("warm", queries=queries, pairs=_WARM_PAIRS)["software"]
        return "warm"

    def measure(self, system: System, outcome: Outcome) -> str:
        """Time all pairs together, then each query alone."""
        process = self._living[system]
        scored = process.ask("pairs")
        outcome.passes.append(scored["seconds"])
        outcome.scores = scored["scores"]
        outcome.queries.append(tuple(process.ask("queries")["milliseconds"]))
        outcome.peak_memory_bytes = process.peak_memory_bytes
        return f"{len(self._workload.pairs) / outcome.passes[-1]:.1f} pairs/s"

    def stop_all(self) -> None:
        """End all processes."""
        for system in list(self._living):
            self._stop(system)

    def _stop(self, system: System) -> None:
        if system in self._living:
            self._living.pop(system).stop()


def _with_remedy(system: System, error: ModelError) -> str:
    message = str(error)
    if system.peer is None or not message.startswith("ModuleNotFoundError"):
        return message
    return f"{message}: name a Python that has it by --peer-python, in place of {system.python}"
