"""What every model runs on: sequences in, ordered by length, in batches over a backend; rows out in the caller's order.

Batches are small: a network of rerankers' sizes is as fast on 1024 tokens as on 4096, and small batches pad less, fill
several cores with one query's candidates, and need little memory. Lengths and row counts come from small sets where
the backend prepares itself for each new shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from reranker_kd.errors import ModelError
from reranker_kd.inference.batching import batches_by_tokens, padded, rounded_up
from reranker_kd.inference.interface import Runner
from reranker_kd.inference.pair_tokenizer import TokenSequence
from reranker_kd.types import FloatArray

POOL = 4096
"""Sequences that are ordered by length together: enough to find others of like length, few enough to bound memory."""

Item = TypeVar("Item")


class Engine:
    """Feeds token sequences to a backend in batches of like length.

    Where memory runs out, the batch is halved, and so are those after it.

    :param runner: the network, ready to run
    :param pad_id: the token that fills shorter rows
    :param with_types: whether the network takes ``token_type_ids``
    :param batch_tokens: tokens of a batch, padding included; None takes what suits the backend
    """

    def __init__(self, runner: Runner, *, pad_id: int, with_types: bool, batch_tokens: int | None = None) -> None:
        self.runner = runner
        self._pad_id = pad_id
        self._with_types = with_types
        self._batch_tokens = batch_tokens or runner.batch_tokens

    def run(
        self, sequences: Sequence[TokenSequence], on_progress: Callable[[int], None] = lambda _: None
    ) -> FloatArray:
        """Return the network's outputs in the order of the sequences, float32 of shape (n, d).

        :param on_progress: called with the number of sequences finished since the last call
        :raises ModelError: memory does not suffice for a single sequence
        """
        if not sequences:
            return np.zeros((0, 1), dtype=np.float32)
        lengths = [len(sequence) for sequence in sequences]
        batches = batches_by_tokens(lengths, self._batch_tokens, self.runner.length_step)
        outputs: FloatArray | None = None
        for batch, rows in zip(batches, self._rows_of_all(sequences, batches), strict=True):
            if outputs is None:
                outputs = np.empty((len(sequences), rows.shape[1]), dtype=np.float32)
            outputs[batch] = rows
            on_progress(len(batch))
        assert outputs is not None
        return outputs

    def _rows_of_all(
        self, sequences: Sequence[TokenSequence], batches: Sequence[npt.NDArray[np.intp]]
    ) -> Iterator[FloatArray]:
        def rows(batch: npt.NDArray[np.intp]) -> FloatArray:
            return self._rows([sequences[place] for place in batch])

        workers = min(self.runner.workers, len(batches))
        if workers == 1:
            yield from map(rows, batches)
            return
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(rows, batches)

    def _rows(self, batch: list[TokenSequence]) -> FloatArray:
        longest = rounded_up(max(map(len, batch)), self.runner.length_step)
        # Another batch may have met the end of memory since this one was made.
        if len(batch) > 1 and len(batch) * longest > self._batch_tokens:
            return self._halves(batch)
        fits = max(1, self._batch_tokens // longest)
        rows = min(fits, power_of_two(len(batch))) if self.runner.length_step > 1 else len(batch)
        arrays = padded(batch, self._pad_id, self.runner.length_step, rows)
        if not self._with_types:
            del arrays["token_type_ids"]
        try:
            outputs = self.runner.run(arrays)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise ModelError(
                    f"out of memory with a single input of {longest} tokens: give a smaller max_length, or a smaller "
                    "model"
                ) from error
        else:
            if len(outputs) != max(rows, len(batch)):
                raise ModelError(
                    f"backend {self.runner.name}: takes the number of rows for fixed with this network: take the "
                    "backend torch"
                )
            return outputs[: len(batch)]
        self._batch_tokens = min(self._batch_tokens, len(batch) * longest // 2)
        return self._halves(batch)

    def _halves(self, batch: list[TokenSequence]) -> FloatArray:
        middle = (len(batch) + 1) // 2
        return np.concatenate([self._rows(batch[:middle]), self._rows(batch[middle:])])


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is not below a number of at least 1."""
    return 1 << (number - 1).bit_length()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a backend's error says that memory does not suffice: each says so in its own words."""
    said = f"{type(error).__name__} {error}".lower()
    words = ("outofmemory", "out of memory", "memoryerror", "can't allocate memory", "bad_alloc", "failed to allocate")
    return any(word in said for word in words)


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items, the next one being made in a thread meanwhile.

    The tokenizers release Python's lock, and so do the networks: both go on side by side.
    """
    with ThreadPoolExecutor(1) as thread:
        end = object()
        upcoming = thread.submit(next, items, end)
        while (item := upcoming.result()) is not end:
            upcoming = thread.submit(next, items, end)
            yield item  # type: ignore[misc]
