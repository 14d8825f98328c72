"""What each step of the engine gains, beside sentence-transformers' CrossEncoder at equal weights.

    python tests/benchmarks/engine_speed.py MODEL PAIRS.tsv [PAIRS [ROUNDS [EXPORT]]]

MODEL is the folder of a cross-encoder; PAIRS.tsv has a query and a text a line, a query's candidates one after another;
EXPORT is the folder of an export of the model, in int8 say. All systems go in turns, at 256 tokens. Prints medians, the
ratio to sentence-transformers' default, how far scores are from its own as a share of their spread, the milliseconds of
a query with 100 candidates, and which share of the time passes outside of the network.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from reranker_kd import load_reranker

MAX_LENGTH = 256


class Timed:
    """A backend that keeps how long it was busy, on average over its workers."""

    def __init__(self, backend):
        self.backend, self.busy, self._lock = backend, 0.0, threading.Lock()

    def __getattr__(self, name):
        return getattr(self.backend, name)

    def run(self, arrays):
        """Run the batch and add up the time."""
        start = time.perf_counter()
        rows = self.backend.run(arrays)
        with self._lock:
            self.busy += (time.perf_counter() - start) / self.backend.workers
        return rows


def ours(model, *, batch_tokens=None, length_step=None, workers=None, **keywords):
    """Return our reranker; ``length_step`` and ``workers`` undo a step of the engine."""
    reranker = load_reranker(model, max_length=MAX_LENGTH, batch_tokens=batch_tokens, **keywords)
    backend = reranker._engine.runner
    backend.length_step = length_step or backend.length_step
    backend.workers = workers or backend.workers
    return reranker


def main(model: str, pairs_file: str, count: int = 600, rounds: int = 3, export: str | None = None) -> None:
    """Time all in turns and print the medians."""
    lines = Path(pairs_file).read_text(encoding="utf-8").splitlines()[:count]
    pairs = [tuple(line.split("\t", 1)) for line in lines]
    peer = CrossEncoder(model, max_length=MAX_LENGTH, device="cpu")
    half = CrossEncoder(model, max_length=MAX_LENGTH, device="cpu", model_kwargs={"torch_dtype": torch.bfloat16})
    rerankers = {
        "torch float32": ours(model),
        "torch bfloat16": ours(model, precision="bfloat16"),
        "openvino, any shape": ours(model, backend="openvino", precision="auto", length_step=1),
        "openvino": ours(model, backend="openvino", precision="auto"),
        "openvino, one worker": ours(model, backend="openvino", precision="auto", workers=1),
    }
    if export:
        rerankers["export"] = ours(export)

    def peers(encoder):
        return lambda given: encoder.predict(given, activation_fn=torch.nn.Identity(), show_progress_bar=False)

    systems = {"sentence-transformers": peers(peer), "the same in bfloat16": peers(half)}
    systems |= {name: reranker.score_pairs for name, reranker in rerankers.items()}
    seconds = {name: [] for name in systems}
    latencies = {name: [] for name in systems}
    scores = {}
    for system in systems.values():
        system(pairs[:100])
    for _ in range(rounds):
        for name, system in systems.items():
            start = time.perf_counter()
            scores[name] = np.asarray(system(pairs)).ravel()
            seconds[name].append(time.perf_counter() - start)
            for first in range(0, len(pairs), 100)[:3]:
                start = time.perf_counter()
                system(pairs[first : first + 100])
                latencies[name].append(1000 * (time.perf_counter() - start))
    base = "sentence-transformers"
    for name in systems:
        ratio = statistics.median(b / s for b, s in zip(seconds[base], seconds[name], strict=True))
        rate = len(pairs) / statistics.median(seconds[name])
        off = np.abs(scores[name] - scores[base]).max() / np.ptp(scores[base])
        query = statistics.median(latencies[name])
        faster = statistics.median(latencies[base]) / query
        print(f"{name:22} {rate:7.1f} pairs/s {ratio:5.2f}x  off {off:.4f}  query {query:6.1f} ms {faster:5.2f}x")
    engine = rerankers["openvino"]._engine
    engine.runner = Timed(engine.runner)
    start = time.perf_counter()
    rerankers["openvino"].score_pairs(pairs)
    elapsed = time.perf_counter() - start
    print(f"outside of the network: {1 - engine.runner.busy / elapsed:.1%}")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:5]), *sys.argv[5:6])
