"""From vectors on disk to the file ``index`` of a FAISS folder, with the bytes that faiss itself writes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import faiss
import numpy as np

from reranker_kd.errors import InputError, OutputError
from reranker_kd.retrieve.dense.index_types import faiss_reason, layers, openmp_threads, resolve_index_type
from reranker_kd.types import FloatArray

# Vectors encoded or added at once, whatever the parts: a graph's links depend on it. 25 MB at 384 dimensions.
_BLOCK = 16384

# faiss's k-means takes at most 256 vectors for each centroid, and a code of a byte has 256 centroids.
_TRAINING_VECTORS = 65536
# It warns below 39 vectors for each centroid, which counts where there are many: the lists of an IVF.
_TRAINING_VECTORS_A_CENTROID = 64


def write_index(
    stream: BinaryIO,
    parts: Callable[[], Iterable[FloatArray]],
    *,
    dimension: int,
    index_type: str,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write vectors as a FAISS index for inner products.

    Flat and scalar-quantised indexes (SQ8, SQfp16) are written block by block: in their files the codes come last,
    after their length. All other types are built in memory, which they need as much of as the file will be large.

    The bytes depend on the vectors and the type, neither on how the vectors are parted nor on the number of threads:
    all runs on one, since the links of a graph and the sums of a matrix product depend on the number.

    :param stream: a new file, open for writing
    :param parts: called up to three times, gives arrays (n_i, dimension) of finite numbers in the order of the docid
        file, at least one vector in all; they need not be in memory together
    :param dimension: numbers in a vector
    :param index_type: a name that :func:`reranker_kd.retrieve.dense.index_types.resolve_index_type` takes
    :param on_progress: called with the number of vectors written since the last call
    :raises InputError: an index type that does not fit, or too few vectors to train it on
    :raises OutputError: faiss does not read back what was written
    """
    factory = resolve_index_type(index_type, dimension)
    total = sum(map(len, parts()))
    with openmp_threads(1):
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            _train(index, parts(), total, factory)
        if not isinstance(index, (faiss.IndexFlat, faiss.IndexScalarQuantizer)):
            for vectors in _blocks(parts(), dimension):
                index.add(vectors)
                on_progress(len(vectors))
            faiss.write_index(index, faiss.PyCallbackIOWriter(stream.write))  # type: ignore[attr-defined]
            return
        index.ntotal = total
        head = faiss.serialize_index(index).tobytes()[:-8]
        # A Flat index counts its codes in floats, the others in bytes.
        length = total * (dimension if isinstance(index, faiss.IndexFlat) else index.code_size)
        stream.write(head + np.uint64(length).tobytes())
        for vectors in _blocks(parts(), dimension):
            codes = index.sa_encode(vectors)
            stream.write(codes.data)
            on_progress(len(vectors))
    stream.flush()
    _check_last(stream.name, total, index.sa_decode(codes[-1:])[0])


def _blocks(parts: Iterable[FloatArray], dimension: int) -> Iterator[FloatArray]:
    """Yield all rows in order, in blocks of one size but for the last."""
    rest = np.empty((0, dimension), dtype=np.float32)
    for part in parts:
        rest = np.concatenate([rest, part], dtype=np.float32)
        while len(rest) >= _BLOCK:
            yield rest[:_BLOCK]
            rest = rest[_BLOCK:]
    if len(rest):
        yield rest


def _train(index: faiss.Index, parts: Iterable[FloatArray], total: int, factory: str) -> None:
    codebooks = [layer.pq.ksub for layer in layers(index) if hasattr(layer, "pq")]
    centroids = max(codebooks + [getattr(layer, "nlist", 0) for layer in layers(index)])
    size = min(total, max(_TRAINING_VECTORS, _TRAINING_VECTORS_A_CENTROID * centroids))
    drawn = np.zeros(total, dtype=bool)
    drawn[np.random.default_rng(42).choice(total, size, replace=False)] = True
    sample, start = [], 0
    for part in parts:
        sample.append(part[drawn[start : start + len(part)]])
        start += len(part)
    try:
        index.train(np.concatenate(sample, dtype=np.float32))
    except RuntimeError as error:
        raise InputError(
            f"index type {factory} cannot be trained on {size} vectors of {index.d} dimensions "
            f"({faiss_reason(error)}): take a type with fewer centroids, or Flat or SQ8"
        ) from error


def _check_last(path: str, total: int, vector: FloatArray) -> None:
    """Raise an error if faiss reads anything else from a streamed file, which another release of it might."""
    try:
        # Mapped, so that it costs no memory.
        written = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
        if written.ntotal == total and np.array_equal(written.reconstruct(total - 1), vector):
            return
        reason = "other vectors"
    except RuntimeError as error:
        reason = faiss_reason(error)
    raise OutputError(f"{path}: faiss {faiss.__version__} does not read back what was written ({reason})")
