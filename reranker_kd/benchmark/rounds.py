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
from reranker_kd.rerank.base import Request

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

    timings: Timings = field(default_factory=Timings)
    scores: list[list[float]] = field(default_factory=list)
    description: dict[str, Any] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    folder_bytes: int | None = None
    peak_memory_bytes: int = 0
    error: str | None = None
    source: str = ""
    process: SystemProcess | None = None

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer of the process at work."""
        assert self.process is not None
        answer = self.process.ask(do, **arguments)
        self.peak_memory_bytes = answer["peak_memory_bytes"]
        return answer

    def stop(self) -> None:
        """End the process, where there is one."""
        if self.process is not None:
            self.process.close()
            self.process = None


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
    outcomes = {system: Outcome() for system in systems}
    rates = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reranker-kd-benchmark-")))
        for outcome in outcomes.values():
            stack.callback(outcome.stop)
        bench = _Bench(outcomes, workload, keywords, scratch, on_event)
        bench.turn(bench.prepare)
        for _ in range(repeats):
            bench.turn(bench.start)
        bench.turn(bench.warm)
        for _ in range(repeats):
            rates.append(matrix_product_rates(keywords.get("device")))
            bench.turn(bench.measure)
    return outcomes, rates


@dataclass(frozen=True, slots=True)
class _Bench:
    """The systems at work, and what has come out of them so far."""

    outcomes: dict[System, Outcome]
    workload: Sequence[Request]
    keywords: Mapping[str, Any]
    scratch: Path
    on_event: Callable[[str], None]

    def turn(self, act: Callable[[System, Outcome], str]) -> None:
        """Let each system that has not failed do something; ``act`` says what came of it."""
        for system, outcome in self.outcomes.items():
            if outcome.error is not None:
                continue
            try:
                said = act(system, outcome)
            except ModelError as error:
                said = outcome.error = _with_remedy(system, error)
                outcome.stop()
            self.on_event(f"{system.name}: {said}")

    def prepare(self, system: System, outcome: Outcome) -> str:
        """Find the model, and let a peer convert it where it needs that; no part of any figure."""
        folder = system.folder
        outcome.source = system.model
        if system.peer:
            # Peers know no names of ours.
            new = str(Path(tempfile.mkdtemp(dir=self.scratch), "model"))
            with closing(SystemProcess(system.command)) as process:
                answer = process.ask("prepare", model=str(folder), folder=new, max_length=self.keywords["max_length"])
            outcome.source = answer["model"]
            folder = Path(outcome.source)
        outcome.folder_bytes = None if folder is None else folder_bytes(folder)
        return "ready"

    def start(self, system: System, outcome: Outcome) -> str:
        """Start a fresh process in place of the one before, and time it up to the first score."""
        outcome.stop()
        outcome.process = SystemProcess(system.command)
        asked = {"backend": system.backend, "precision": system.precision}
        keywords = {**self.keywords, **{name: value for name, value in asked.items() if value is not None}}
        query, (first, *_) = self.workload[0]
        answer = outcome.ask("start", model=outcome.source, keywords=keywords, pair=(query.text, first.text))
        outcome.timings.cold_start_s.append(time.perf_counter() - outcome.process.started)
        outcome.description = answer["description"]
        return f"first score after {outcome.timings.cold_start_s[-1]:.1f} s"

    def warm(self, system: System, outcome: Outcome) -> str:  # noqa: ARG002
        """Hand the queries over, and have some scored untimed."""
        queries = [(query.text, [candidate.text for candidate in candidates]) for query, candidates in self.workload]
        outcome.software = outcome.ask("warm", queries=queries, pairs=_WARM_PAIRS)["software"]
        return "warm"

    def measure(self, system: System, outcome: Outcome) -> str:  # noqa: ARG002
        """Time all pairs together, then each query alone."""
        scored = outcome.ask("pairs")
        outcome.timings.seconds.append(scored["seconds"])
        outcome.scores = scored["scores"]
        outcome.timings.query_ms.append(outcome.ask("queries")["milliseconds"])
        return f"{sum(map(len, outcome.scores)) / scored['seconds']:.1f} pairs/s"


def _with_remedy(system: System, error: ModelError) -> str:
    message = str(error)
    if system.peer is None or not message.startswith("ModuleNotFoundError"):
        return message
    return f"{message}: name a Python that has it by --peer-python, in place of {system.python}"
