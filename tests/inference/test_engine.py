"""Rows come back in the caller's order, whatever the batches; where memory ends, batches are halved."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.errors import ModelError
from reranker_kd.inference.batching import padded
from reranker_kd.inference.engine import Engine, is_out_of_memory, one_ahead, power_of_two
from reranker_kd.inference.pair_tokenizer import TokenSequence


class SumBackend:
    """Gives the sum of a row's token ids, and its share of token types; remembers the shapes that it met."""

    name, precision, device = "sum", "float32", "cpu"

    def __init__(self, *, batch_tokens=64, length_step=1, workers=1, room=None):
        self.batch_tokens, self.length_step, self.workers, self.room = batch_tokens, length_step, workers, room
        self.shapes = []
        self._lock = threading.Lock()

    def run(self, arrays):
        shape = arrays["input_ids"].shape
        with self._lock:
            self.shapes.append(shape)
        if self.room is not None and shape[0] * shape[1] > self.room:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        sums = (arrays["input_ids"] * arrays["attention_mask"]).sum(1)
        return np.stack([sums, arrays["token_type_ids"].sum(1)], axis=1).astype(np.float32)


def _sequences(lengths):
    generator = np.random.default_rng(len(lengths))
    return [
        TokenSequence(generator.integers(1, 99, n).astype(np.int32), generator.integers(0, 2, n).astype(np.int32))
        for n in lengths
    ]


def _expected(sequences):
    return np.array([[s.ids.sum(), s.types.sum()] for s in sequences], dtype=np.float32)


def _engine(backend):
    return Engine(backend, pad_id=7, with_types=True)


@given(st.lists(st.integers(1, 70), min_size=1, max_size=60), st.sampled_from([1, 16]), st.integers(1, 3))
def test_rows_come_in_the_callers_order(lengths, step, workers):
    sequences = _sequences(lengths)
    done = []
    engine = _engine(SumBackend(length_step=step, workers=workers))
    np.testing.assert_array_equal(engine.run(sequences, done.append), _expected(sequences))
    assert sum(done) == len(lengths)


def test_many_sequences_meet_few_shapes():
    backend = SumBackend(batch_tokens=256, length_step=16)
    generator = np.random.default_rng(0)
    _engine(backend).run(_sequences(generator.integers(20, 200, 2000)))
    assert all(tokens % 16 == 0 for _, tokens in backend.shapes)
    # One number of rows a length, but for the last batch of all.
    assert len(set(backend.shapes)) <= 12 + 1
    for count in range(1, 9):
        _engine(backend).run(_sequences([16] * count))
    assert {rows for rows, tokens in backend.shapes if tokens == 16} <= {1, 2, 4, 8}


@pytest.mark.parametrize("workers", [1, 3])
def test_where_memory_ends_batches_are_halved_and_stay_so(workers):
    backend = SumBackend(batch_tokens=400, room=100, workers=workers)
    engine = _engine(backend)
    sequences = _sequences([20] * 100)
    np.testing.assert_array_equal(engine.run(sequences), _expected(sequences))
    backend.shapes.clear()
    engine.run(sequences)
    assert all(rows * tokens <= 100 for rows, tokens in backend.shapes)


def test_a_single_input_beyond_memory_is_an_error():
    with pytest.raises(ModelError, match="out of memory with a single input of 20 tokens: give a smaller max_length"):
        _engine(SumBackend(room=10)).run(_sequences([20] * 4))


def test_other_errors_pass():
    backend = SumBackend()
    backend.run = lambda arrays: 1 / 0
    with pytest.raises(ZeroDivisionError):
        _engine(backend).run(_sequences([3]))


def test_a_backend_that_fixed_the_number_of_rows_is_found_out():
    backend = SumBackend()
    backend.run = lambda arrays: np.zeros((3, 1), np.float32)
    with pytest.raises(ModelError, match="take the backend torch"):
        _engine(backend).run(_sequences([3] * 5))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("Exception from src/inference: std::bad_alloc"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_one_ahead_keeps_order_and_passes_errors_on():
    assert list(one_ahead(iter(range(5)))) == [0, 1, 2, 3, 4]

    def failing():
        yield 1
        raise ModelError("broken")

    items = one_ahead(failing())
    assert next(items) == 1
    with pytest.raises(ModelError, match="broken"):
        next(items)


def test_padding_repeats_the_first_row_and_rounds_the_length():
    arrays = padded(_sequences([3, 2]), 7, length_step=8, rows=4)
    assert arrays["input_ids"].shape == (4, 8)
    np.testing.assert_array_equal(arrays["input_ids"][2], arrays["input_ids"][0])
    np.testing.assert_array_equal(arrays["attention_mask"].sum(1), [3, 2, 3, 3])


@given(st.integers(1, 10_000))
def test_power_of_two(number):
    power = power_of_two(number)
    assert number <= power < 2 * number
    assert power & (power - 1) == 0
