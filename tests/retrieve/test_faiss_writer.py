"""Files are faiss's own to the byte, streamed or not, and no file depends on parts or threads."""

from __future__ import annotations

import subprocess
import sys

import faiss
import numpy as np
import pytest

from reranker_kd.errors import InputError, OutputError
from reranker_kd.formats.files import atomic_binary_writer
from reranker_kd.retrieve.dense import index_writer
from reranker_kd.retrieve.dense.index_types import openmp_threads
from reranker_kd.retrieve.dense.index_writer import write_index

STREAMED = ["Flat", "SQ8", "SQ4", "SQfp16", "SQbf16"]
IN_MEMORY = [
    *["HNSW8", "HNSW8,SQ8", "IVF4,Flat", "IVF4,SQ8", "IVF4,PQ4x4np", "OPQ2_4,PQ2x4np", "PCA8,SQ8", "PQ4x4fs"],
    *["PQ2x4", "PQ4x6np", "RQ2x4", "RaBitQ", "SQ8,RFlat", "IVF4_HNSW4,Flat", "IVF4,PQ4x4fs"],
]


def _vectors(count, dimension=16, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _written(path, parts, index_type, **options):
    with atomic_binary_writer(path) as stream:
        write_index(stream, lambda: parts, dimension=parts[0].shape[1], index_type=index_type, **options)
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


@pytest.mark.parametrize("index_type", ["SQ8", "IVF4,Flat"])
def test_training_vectors_are_the_same_rows_whatever_the_parts(tmp_path, monkeypatch, index_type):
    monkeypatch.setattr(index_writer, "_TRAINING_VECTORS", 300)
    vectors = _vectors(2000)
    one = _written(tmp_path / "one", [vectors], index_type)
    two = _written(tmp_path / "two", np.split(vectors, [1, 2, 1100]), index_type)
    assert one == two != _by_faiss(tmp_path / "trained on all", vectors, index_type)


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
from pathlib import Path
import numpy as np
from reranker_kd.retrieve.dense.index_writer import write_index

def parts():
    return (np.random.default_rng(n).standard_normal((10_000, 64), dtype=np.float32) for n in range(count))

def peak():
    # Of this program alone: ru_maxrss begins with the peak of the process that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

for index_type in sys.argv[2:]:
    peaks = []
    for count in (4, 4, 25):
        with open(sys.argv[1], "wb") as stream:
            write_index(stream, parts, dimension=64, index_type=index_type)
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
    ("index_type", "fault"),
    [
        (
            "IVF256,Flat",
            "cannot be trained on 100 vectors of 16 dimensions .*number of clusters .256.*: take a type with",
        ),
        (
            "PQ4",
            "cannot be trained on 100 vectors of 16 dimensions .*number of clusters .256.*: take a type with fewer",
        ),
        ("OPQ4,IVF4,PQ4", "cannot be trained on 100 vectors"),
        ("PCA32,Flat", "PCA32,Flat cannot be trained on 100 vectors of 16 dimensions"),
        ("PQ7", "index type 'PQ7' does not work"),
    ],
)
def test_types_that_cannot_be_trained_are_refused(tmp_path, index_type, fault):
    with pytest.raises(InputError, match=fault) as caught:
        _written(tmp_path / "index", [_vectors(100)], index_type)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "index").exists()


FULL_DISK = """
import resource, signal, sys
import numpy as np
from reranker_kd.errors import OutputError
from reranker_kd.formats.files import atomic_binary_writer
from reranker_kd.retrieve.dense.index_writer import write_index
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    with atomic_binary_writer(sys.argv[1]) as stream:
        write_index(stream, lambda: [np.ones((5000, 16), np.float32)], dimension=16, index_type=sys.argv[2])
except OutputError as error:
    print("caught", error)
"""


@pytest.mark.parametrize("index_type", ["Flat", "PCA16,Flat"])
def test_a_full_disk_is_an_output_error(tmp_path, index_type):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "index"), index_type]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"caught {tmp_path / 'index'}: cannot write: File too large"), done.stderr
    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout", ["cut", "other"])
def test_a_layout_that_faiss_does_not_read_back_is_an_output_error(tmp_path, monkeypatch, layout):
    # As another release of faiss might have it: a field less or more at the end.
    serialize = faiss.serialize_index
    after = np.zeros(0 if layout == "cut" else 16, dtype=np.uint8)
    monkeypatch.setattr(faiss, "serialize_index", lambda index: np.append(serialize(index)[:-8], after))
    with pytest.raises(OutputError, match=r"faiss .* does not read back what was written"):
        _written(tmp_path / "index", [_vectors(50)], "Flat")
    assert not list(tmp_path.iterdir())
