"""Running systems in turns: each in a process of its own, one at work at a time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reranker_kd.benchmark.machine import matrix_product_rates
from reranker_kd.benchmark.network_cost import folder_bytes
from reranker_kd.benchmark.process import SystemProcess
from reranker_kd.benchmark.results import Timings
from reranker_kd.benchmark.systems import System
from reranker_kd.errors import ModelError
from reranker_kd.rerank.base import Pair, Request

_WARM_PAIRS = 512
"""Pairs scored before anything is timed: enough to meet the lengths that there are."""


@dataclass(slots=True)
class Outcome:
    """What became of a system: measurements as they come in, or why it stopped.

    :param scores: of each query's candidates
    :param folder_bytes: bytes of the folder that is loaded
    :param error: one line; None where all went well
    :param source: what is loaded
    :param process: the one at work
    """

    system: System
    timings: Timings = field(default_factory=Timings)
    scores: list[list[float]] = field(default_factory=list)
    description: dict[str, Any] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    folder_bytes: int | None = None
    peak_memory_bytes: int = 0
    error: str | None = None
    source: str = ""
    process: SystemProcess | None = None

    def prepare(self, scratch: Path, max_length: int) -> str:
        """Find the model, and let a peer convert it where it needs that; no part of any figure."""
        folder = self.system.folder
        self.source = self.system.model
        if self.system.peer:
            # Peers know no names of ours.
            new = str(Path(tempfile.mkdtemp(dir=scratch), "model"))
            with closing(SystemProcess(self.system.command)) as process:
                self.source = process.ask("prepare", model=str(folder), folder=new, max_length=max_length)["model"]
            folder = Path(self.source)
        self.folder_bytes = None if folder is None else folder_bytes(folder)
        return "ready"

    def start(self, keywords: Mapping[str, Any], pair: Pair) -> str:
        """Start a fresh process in place of the one before, and time it up to the first score."""
        self.stop()
        self.process = SystemProcess(self.system.command)
        asked = {"backend": self.system.backend, "precision": self.system.precision}
        keywords = {**keywords, **{name: value for name, value in asked.items() if value is not None}}
        self.description = self._ask("start", model=self.source, keywords=keywords, pair=pair)["description"]
        self.timings.cold_start_s.append(time.perf_counter() - self.process.started)
        return f"first score after {self.timings.cold_start_s[-1]:.1f} s"

    def warm(self, queries: Sequence[tuple[str, list[str]]]) -> str:
        """Hand the queries over, and have some scored untimed."""
        self.software = self._ask("warm", queries=queries, pairs=_WARM_PAIRS)["software"]
        return "warm"

    def measure(self) -> str:
        """Time all pairs together, then each query alone."""
        scored = self._ask("pairs")
        self.timings.seconds.append(scored["seconds"])
        self.scores = scored["scores"]
        self.timings.query_ms.append(self._ask("queries")["milliseconds"])
        return f"{sum(map(len, self.scores)) / scored['seconds']:.1f} pairs/s"

    def stop(self) -> None:
        """End the process, where there is one."""
        if self.process is not None:
            self.process.close()
            self.process = None

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self.process is not None
        answer = self.process.ask(do, **arguments)
        self.peak_memory_bytes = answer["peak_memory_bytes"]
        return answer


def run_rounds(
    systems: Sequence[System],
    workload: Sequence[Request],
    keywords: Mapping[str, Any],
    *,
    repeats: int,
    on_event: Callable[[str], None],
) -> tuple[dict[System, Outcome], list[dict[str, float]]]:
    """Start every system ``repeats`` times, then measure it ``repeats`` times, always in turns.

    The last process of a system lives through all rounds. A system that fails is left out from there on, and the
    others go on.

    :param workload: queries with the candidates that every system scores, and their texts
    :param keywords: what every model is loaded with: ``max_length``, and ``device`` where one was asked for
    :param on_event: called with a line about what was done
    :return: the outcome of every system, and the machine's rate of matrix products in every round, by precision
    """
    outcomes = {system: Outcome(system) for system in systems}
    queries = [(query.text, [str(candidate.text) for candidate in candidates]) for query, candidates in workload]
    first_pair = queries[0][0], queries[0][1][0]
    rates = []

    def turn(act: Callable[[Outcome], str]) -> None:
        for system, outcome in outcomes.items():
            if outcome.error is None:
                try:
                    said = act(outcome)
                except ModelError as error:
                    said = outcome.error = _with_remedy(system, str(error))
                    outcome.stop()
                on_event(f"{system.name}: {said}")

    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reranker-kd-benchmark-")))
        for outcome in outcomes.values():
            stack.callback(outcome.stop)
        turn(lambda outcome: outcome.prepare(scratch, keywords["max_length"]))
        for _ in range(repeats):
            turn(lambda outcome: outcome.start(keywords, first_pair))
        turn(lambda outcome: outcome.warm(queries))
        for _ in range(repeats):
            rates.append(matrix_product_rates(keywords.get("device")))
            turn(Outcome.measure)
    return outcomes, rates


def _with_remedy(system: System, fault: str) -> str:
    if system.peer is None or not fault.startswith("ModuleNotFoundError"):
        return fault
    return f"{fault}: name a Python that has it by --peer-python, in place of {system.python}"
