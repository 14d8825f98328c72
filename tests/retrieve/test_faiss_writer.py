"""Streamed files are faiss's own to the byte, and no file depends on parts or threads."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reranker_kd.errors import InputError, OutputError
from reranker_kd.retrieve.dense import index_writer
from reranker_kd.retrieve.dense.index_types import openmp_threads
from reranker_kd.retrieve.dense.index_writer import write_index

STREAMED = ["Flat", "SQ8", "SQ4", "SQfp16", "SQbf16", "PQ2x4", "PQ4x6np", "RQ2x4", "RaBitQ"]
IN_MEMORY = [
    *["HNSW8", "HNSW8,SQ8", "IVF4,Flat", "IVF4,SQ8", "IVF4,PQ4x4np", "OPQ2_4,PQ2x4np", "PCA8,SQ8", "PQ4x4fs"],
    *["SQ8,RFlat", "IVF4_HNSW4,Flat", "IVF4,PQ4x4fs"],
]


def _vectors(count, dimension=16, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _written(path, parts, index_type, **options):
    write_index(path, parts, dimension=parts[0].shape[1], index_type=index_type, **options)
    return path.read_bytes()


def _by_faiss(path, vectors, index_type):
    with openmp_threads(1):
        index = faiss.index_factory(vectors.shape[1], index_type, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
    faiss.write_index(index, str(path))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("index_type", "count"),
    [
        *((index_type, 700) for index_type in [*STREAMED, *IN_MEMORY]),
        *((index_type, 1) for index_type in ["Flat", "SQ8", "SQfp16", "HNSW8"]),
    ],
)
def test_the_bytes_are_those_of_faiss(tmp_path, index_type, count):
    vectors = _vectors(count)
    ours = _written(tmp_path / "ours", [vectors[:300], vectors[300:300], vectors[300:]], index_type)
    assert ours == _by_faiss(tmp_path / "theirs", vectors, index_type)


@pytest.mark.parametrize("index_type", STREAMED)
def test_what_can_be_streamed_is(index_type):
    index = faiss.index_factory(16, index_type, faiss.METRIC_INNER_PRODUCT)
    index.train(_vectors(300))
    assert index_writer._find_layout(index) is not None


# The transform is the one that on two threads would be another: sums of matrix products, where they are large enough.
@pytest.mark.parametrize("index_type", ["SQ8", "PQ4x4np", "HNSW8", "IVF8,Flat", "PCA64,Flat"])
def test_the_bytes_do_not_depend_on_parts_or_threads(tmp_path, monkeypatch, index_type):
    monkeypatch.setattr(index_writer, "_BLOCK", 256)
    vectors = _vectors(2500, 256 if "PCA" in index_type else 16)
    with openmp_threads(1):
        one = _written(tmp_path / "one", [vectors], index_type)
    with openmp_threads(2):
        two = _written(tmp_path / "two", np.split(vectors, [1, 200, 256, 257, 1100]), index_type)
        assert faiss.omp_get_max_threads() == 2
    assert one == two


@settings(max_examples=50)
@given(cuts=st.lists(st.integers(0, 70), max_size=8), size=st.integers(1, 20))
def test_blocks_hold_every_row_once_and_in_order(cuts, size):
    vectors = _vectors(70, 2)
    edges = [0, *sorted(cuts), 70]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_writer, "_BLOCK", size)
        blocks = list(index_writer._blocks([vectors[low:high] for low, high in pairwise(edges)]))
    assert {len(block) for block in blocks[:-1]} <= {size}
    assert np.array_equal(np.concatenate(blocks), vectors)


@given(cuts=st.lists(st.integers(0, 70), max_size=8), size=st.integers(1, 70), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_training_vectors_are_distinct_rows_in_order_whatever_the_parts(cuts, size, seed):
    rows = np.arange(70, dtype=np.float32)[:, None]
    edges = [0, *sorted(cuts), 70]
    sample = index_writer._sample([rows[low:high] for low, high in pairwise(edges)], 70, size, seed)
    assert sample.shape == (size, 1)
    assert (np.diff(sample[:, 0]) > 0).all()
    assert np.array_equal(sample, index_writer._sample([rows], 70, size, seed))


def test_the_seed_draws_other_training_vectors(tmp_path):
    drawn = [
        _written(tmp_path / "x", [_vectors(2000)], "IVF4,Flat", training_vectors=200, seed=seed) for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_memory_mapped_parts_and_progress(tmp_path):
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", _vectors(10_000, 4, seed=number))
    parts = [np.load(tmp_path / f"{number}.npy", mmap_mode="r") for number in range(3)]
    steps = []
    _written(tmp_path / "index", parts, "fp16", on_progress=steps.append)
    assert steps == [16384, 30_000 - 16384]
    written = faiss.read_index(str(tmp_path / "index"))
    np.testing.assert_allclose(written.reconstruct_n(0, 30_000), np.concatenate(parts), atol=1e-3)


PEAK = """
import sys
from collections.abc import Sequence
from pathlib import Path
import numpy as np
from reranker_kd.retrieve.dense.index_writer import write_index

class Parts(Sequence):
    def __len__(self):
        return count
    def __getitem__(self, number):
        if not 0 <= number < count:
            raise IndexError
        return np.random.default_rng(number).standard_normal((10_000, 64), dtype=np.float32)

def peak():
    # Of this program alone: ru_maxrss begins with the peak of the process that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

path = Path(sys.argv[1])
for index_type in sys.argv[2:]:
    peaks = []
    for count in (4, 4, 25):
        write_index(path, Parts(), dimension=64, index_type=index_type, training_vectors=1000)
        peaks.append(peak())
    print(peaks[2] - peaks[1])
"""


def test_peak_memory_does_not_grow_with_the_vectors(tmp_path):
    def growth(*index_types):
        command = [sys.executable, "-c", PEAK, str(tmp_path / "index"), *index_types]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [int(line) for line in done.stdout.split()]

    # 210,000 vectors more are 54 MB in a Flat index, 27 MB in fp16; peaks are in KiB.
    assert max(growth("SQfp16", "Flat")) < 8_000
    # The measure sees what is kept in memory.
    assert growth("PCA64,Flat")[0] > 40_000


@pytest.mark.parametrize(
    ("count", "index_type", "options", "fault"),
    [
        (
            100,
            "IVF256,Flat",
            {},
            r"IVF256,Flat trains 256 centroids, but on 100 of 100 vectors: take a type with fewer",
        ),
        (100, "PQ4", {}, "PQ4 trains 256 centroids, but on 100 of 100 vectors"),
        (100, "OPQ4,IVF4,PQ4", {}, "trains 256 centroids"),
        (500, "IVF64,Flat", {"training_vectors": 10}, "on 10 of 500 vectors: take more training vectors"),
        (100, "PCA32,Flat", {}, "PCA32,Flat cannot be trained on 100 vectors of 16 dimensions"),
        (100, "PQ7", {}, "index type 'PQ7' does not work"),
    ],
)
def test_types_that_cannot_be_trained_are_refused(tmp_path, count, index_type, options, fault):
    with pytest.raises(InputError, match=fault) as caught:
        _written(tmp_path / "index", [_vectors(count)], index_type, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "index").exists()


def test_vectors_that_cannot_be_written_are_refused(tmp_path):
    vectors = _vectors(100)
    with pytest.raises(InputError, match=r"part 2 of the vectors has shape \(100, 8\): expected \(n, 16\)"):
        _written(tmp_path / "index", [vectors, vectors[:, :8]], "Flat")
    with pytest.raises(InputError, match="no vectors to write"):
        _written(tmp_path / "index", [vectors[:0]], "Flat")
    broken = vectors.copy()
    broken[7, 3] = np.nan
    with pytest.raises(InputError, match="vector 107 "):
        _written(tmp_path / "index", [vectors, broken], "Flat")


@pytest.mark.parametrize("index_type", ["Flat", "HNSW8"])
def test_a_file_that_cannot_be_written_is_one_line(tmp_path, index_type):
    with pytest.raises(OutputError, match="cannot write the index") as caught:
        _written(tmp_path / "missing" / "index", [_vectors(10)], index_type)
    assert "\n" not in str(caught.value)


FULL_DISK = """
import resource, signal, sys
import numpy as np
from reranker_kd.errors import OutputError
from reranker_kd.retrieve.dense.index_writer import write_index
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    write_index(sys.argv[1], [np.ones((5000, 16), np.float32)], dimension=16, index_type=sys.argv[2])
except OutputError as error:
    print("caught", error)
"""


@pytest.mark.parametrize("index_type", ["Flat", "PCA16,Flat"])
def test_a_disk_that_is_full_is_told(tmp_path, index_type):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "index"), index_type]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"caught {tmp_path / 'index'}: cannot write the index"), done.stderr
    assert done.stdout.count("\n") == 1


def test_a_file_that_does_not_read_back_is_told(tmp_path):
    vectors = _vectors(50)
    _written(tmp_path / "index", [vectors], "Flat")
    index_writer._check(tmp_path / "index", faiss.IndexFlatIP(16), [vectors], 50)
    for others, total in (([vectors[::-1]], 50), ([vectors], 51)):
        with pytest.raises(OutputError, match="does not read back"):
            index_writer._check(tmp_path / "index", faiss.IndexFlatIP(16), others, total)
    with pytest.raises(OutputError, match="does not read back"):
        index_writer._check(tmp_path / "index", None, [vectors], 51)
    (tmp_path / "index").write_bytes((tmp_path / "index").read_bytes()[:-9])
    with pytest.raises(OutputError, match="does not read back"):
        index_writer._check(tmp_path / "index", faiss.IndexFlatIP(16), [vectors], 50)
