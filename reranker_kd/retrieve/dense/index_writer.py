"""From vectors on disk to the file ``index`` of a FAISS folder, with the same bytes for the same vectors.

An index that stores one code a vector in order (Flat, SQ8, SQfp16, PQ and their like) is written as a stream: its file
is a head with the number of vectors, the length of the codes, the codes, and a tail. So it never stands in memory.
Where these lie is found by comparing what faiss writes of none, one and two vectors, and if the three do not agree
the index is built in memory, as those with a graph, lists or a transform are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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

_COUNT = slice(8, 16)


def write_index(
    path: str | Path,
    parts: Sequence[FloatArray],
    *,
    dimension: int,
    index_type: str,
    seed: int = 42,
    training_vectors: int | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write vectors as a FAISS index for inner products.

    The bytes depend on the vectors, the type and the seed, neither on how the vectors are parted nor on the number of
    threads: all runs on one, since the links of a graph and the sums of a matrix product depend on the number.

    :param path: the file to write, exactly here; one that is there is replaced
    :param parts: arrays (n_i, dimension), rows in the order of the docid file; memory-mapped ones stay on disk
    :param dimension: numbers in a vector
    :param index_type: a name that :func:`reranker_kd.retrieve.dense.index_types.resolve_index_type` takes
    :param seed: draws the training vectors of the types that are trained
    :param training_vectors: how many are drawn at most; None takes 65,536, or 64 for each centroid if that is more
    :param on_progress: called with the number of vectors written since the last call
    :raises InputError: an index type that does not fit, parts of another shape, no vectors or too few to train on,
        a vector with numbers that are not finite
    :raises OutputError: the file cannot be written, or does not read back as what was written
    """
    factory = resolve_index_type(index_type, dimension)
    total = _checked_total(parts, dimension)
    with openmp_threads(1):
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            _train(index, parts, total, factory, seed, training_vectors)
        layout = _find_layout(index)
        try:
            if layout is None:
                _write_in_memory(Path(path), index, parts, on_progress)
            else:
                _write_streamed(Path(path), index, layout, parts, total, on_progress)
            with Path(path).open("rb") as stream:
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(f"{path}: cannot write the index: {error.strerror or error}") from error
        except RuntimeError as error:
            raise OutputError(f"{path}: cannot write the index: {faiss_reason(error)}") from error
        _check(path, index if layout is not None else None, parts, total)


def _checked_total(parts: Sequence[FloatArray], dimension: int) -> int:
    total = 0
    for place, part in enumerate(parts, start=1):
        if part.ndim != 2 or part.shape[1] != dimension:
            raise InputError(f"part {place} of the vectors has shape {part.shape}: expected (n, {dimension})")
        total += len(part)
    if not total:
        raise InputError("there are no vectors to write: an index takes at least one")
    return total


def _blocks(parts: Sequence[FloatArray]) -> Iterator[FloatArray]:
    """Yield all rows in order, copied, in blocks of one size but for the last."""
    pieces: list[FloatArray] = []
    held = yielded = 0

    def block() -> FloatArray:
        nonlocal held, yielded
        vectors = np.concatenate(pieces, dtype=np.float32)
        broken = ~np.isfinite(vectors).all(axis=1)
        if broken.any():
            row = yielded + int(broken.argmax())
            raise InputError(f"vector {row} (counted from 0) holds NaN or infinity: encode its document again")
        pieces.clear()
        yielded += held
        held = 0
        return vectors

    for part in parts:
        start = 0
        while start < len(part):
            pieces.append(part[start : start + _BLOCK - held])
            start += len(pieces[-1])
            held += len(pieces[-1])
            if held == _BLOCK:
                yield block()
    if held:
        yield block()


def _train(
    index: faiss.Index,
    parts: Sequence[FloatArray],
    total: int,
    factory: str,
    seed: int,
    training_vectors: int | None,
) -> None:
    centroids = max(max(getattr(layer, "nlist", 0), _codebook_size(layer)) for layer in layers(index))
    if training_vectors is None:
        training_vectors = max(_TRAINING_VECTORS, _TRAINING_VECTORS_A_CENTROID * centroids)
    size = min(total, training_vectors)
    if size < centroids:
        raise InputError(
            f"index type {factory} trains {centroids} centroids, but on {size} of {total} vectors: "
            f"take {'more training vectors' if total >= centroids else 'a type with fewer centroids, or Flat or SQ8'}"
        )
    sample = _sample(parts, total, size, seed)
    try:
        index.train(sample)
    except RuntimeError as error:
        raise InputError(
            f"index type {factory} cannot be trained on {size} vectors of {index.d} dimensions "
            f"({faiss_reason(error)}): take another type, such as Flat or SQ8"
        ) from error


def _codebook_size(layer: faiss.Index) -> int:
    return layer.pq.ksub if hasattr(layer, "pq") else 0


def _sample(parts: Sequence[FloatArray], total: int, size: int, seed: int) -> FloatArray:
    """Return ``size`` rows drawn without replacement over all parts, in their order."""
    positions = np.sort(np.random.default_rng(seed).choice(total, size, replace=False))
    drawn = []
    start = 0
    for part in parts:
        low, high = np.searchsorted(positions, [start, start + len(part)])
        drawn.append(part[positions[low:high] - start])
        start += len(part)
    return np.concatenate(drawn, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The file of an index that stores one code a vector in order.

    :param head: what precedes the length of the codes, of an index without vectors
    :param tail: what follows the codes
    :param unit: what one vector adds to the length of the codes: bytes, or floats in a Flat index
    """

    head: bytes
    tail: bytes
    unit: int

    def before_codes(self, vectors: int) -> bytes:
        count, length = np.int64(vectors).tobytes(), np.uint64(vectors * self.unit).tobytes()
        return self.head[: _COUNT.start] + count + self.head[_COUNT.stop :] + length


def _find_layout(trained: faiss.Index) -> _Layout | None:
    """Return how the file of a trained index without vectors grows with them, or None if not code by code."""
    if not isinstance(trained, faiss.IndexFlatCodes):
        return None
    probes = np.random.default_rng(0).standard_normal((2, trained.d), dtype=np.float32)
    grown = faiss.clone_index(trained)
    files = [faiss.serialize_index(grown).tobytes()]
    for probe in probes:
        grown.add(probe[None])
        files.append(faiss.serialize_index(grown).tobytes())
    codes = trained.sa_encode(probes)
    for unit in (codes.shape[1], codes.shape[1] // 4):
        at = files[1].find(np.uint64(unit).tobytes() + codes[0].tobytes())
        layout = _Layout(files[0][:at], files[0][at + 8 :], unit)
        if at >= 0 and all(
            file == layout.before_codes(vectors) + codes[:vectors].tobytes() + layout.tail
            for vectors, file in enumerate(files)
        ):
            return layout
    return None


def _write_streamed(
    path: Path,
    trained: faiss.Index,
    layout: _Layout,
    parts: Sequence[FloatArray],
    total: int,
    on_progress: Callable[[int], None],
) -> None:
    with path.open("wb") as stream:
        stream.write(layout.before_codes(total))
        for vectors in _blocks(parts):
            stream.write(trained.sa_encode(vectors).data)
            on_progress(len(vectors))
        stream.write(layout.tail)


def _write_in_memory(
    path: Path, trained: faiss.Index, parts: Sequence[FloatArray], on_progress: Callable[[int], None]
) -> None:
    for vectors in _blocks(parts):
        trained.add(vectors)
        on_progress(len(vectors))
    faiss.write_index(trained, str(path))


def _check(path: str | Path, codec: faiss.Index | None, parts: Sequence[FloatArray], total: int) -> None:
    """Read the file back, mapped so that it costs no memory; with a codec, compare the first and last vectors too."""
    try:
        written = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        good = written.ntotal == total
        if good and codec is not None:
            first = next(part[0] for part in parts if len(part))
            last = next(part[-1] for part in reversed(parts) if len(part))
            ends = np.stack([first, last]).astype(np.float32)
            good = np.array_equal(
                written.reconstruct_batch(np.array([0, total - 1])), codec.sa_decode(codec.sa_encode(ends))
            )
    except RuntimeError as error:
        raise OutputError(f"{path}: the index does not read back ({faiss_reason(error)}): write it again") from error
    if not good:
        raise OutputError(f"{path}: the index does not read back as the vectors that were written: write it again")
