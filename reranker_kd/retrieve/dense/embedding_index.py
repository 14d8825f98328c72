"""A FAISS folder as Pyserini's FaissSearcher opens it: the file ``index``, and ``docid`` with one docid a row."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from faiss.contrib.factory_tools import reverse_index_factory

from reranker_kd.errors import FormatError, InputError
from reranker_kd.formats.files import read_lines, sha256_of_file
from reranker_kd.formats.parsing import identifier_fault
from reranker_kd.retrieve.dense.index_types import faiss_reason, layers, openmp_threads
from reranker_kd.types import FloatArray

# Flat and scalar-quantised indexes: the codes are the last field of the file, and faiss checks that they are whole.
# Of a mapped file that ends with anything else faiss may read beyond the end.
_MAPPABLE = (b"IxFI", b"IxSQ")


class EmbeddingIndex:
    """Vectors of documents, found by inner product or by docid.

    A row is a vector's number from 0, and the line of its docid. Flat and scalar-quantised indexes are mapped, so
    that what is not looked at stays on disk; the file must not change meanwhile.

    :param folder: a folder with the files ``index`` and ``docid``, ours or one that Pyserini made
    :param ef_search: how many vectors the search of an HNSW index keeps in view; faiss takes the number of hits
        where that is more. None leaves what the index was made with
    :param nprobe: how many lists of an IVF index are searched; None leaves what the index was made with
    :param threads: OpenMP threads of a search; None leaves faiss's number
    :raises InputError: no such folder, a file is missing, or a parameter that this kind of index does not have
    :raises FormatError: a broken or empty index, one of another metric than the inner product, or docids that are
        not one for each vector, or not distinct
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        ef_search: int | None = None,
        nprobe: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        for name, value in (("threads", threads), ("ef_search", ef_search), ("nprobe", nprobe)):
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}: expected 1 or more")
        self._index_file, docid_file = self.folder / "index", self.folder / "docid"
        for file in (self._index_file, docid_file):
            if not file.is_file():
                raise InputError(
                    f"{file}: no such file: expected a folder with the files index and docid, as `reranker-kd encode` "
                    "and Pyserini write it"
                )
        self._index = _read_index(self._index_file)
        self._layers = list(layers(self._index))
        searched = (("ef_search", "efSearch", "an HNSW", ef_search), ("nprobe", "nprobe", "an IVF", nprobe))
        for ours, name, kind, value in searched:
            try:
                if value is not None:
                    faiss.ParameterSpace().set_index_parameter(self._index, name, value)
            except RuntimeError as error:
                fault = f"{ours} is for {kind} index, but this one is {self._kind}: leave it out"
                raise InputError(f"{self.folder}: {fault}") from error
        self._threads = threads
        self._rows = _read_docids(docid_file)
        if len(self._rows) != len(self):
            fault = f"names {len(self._rows)} documents, but the index holds {len(self)} vectors: make the folder again"
            raise FormatError(docid_file, None, fault)
        self.docids: list[str] = list(self._rows)
        self.dimension: int = self._index.d

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: FloatArray, hits: int) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Return the vectors of the largest inner products with each query.

        :param queries: (n, dimension), all in memory at once with what is found
        :param hits: vectors for each query at most
        :return: scores and rows, both (n, min(hits, len(self))), best first by faiss's own order among ties; where an
            approximate index finds fewer, the row is -1 and the score the lowest float32
        :raises InputError: queries of another shape, or hits below 1
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise InputError(
                f"{self.folder}: holds vectors of {self.dimension} dimensions, but the queries have shape "
                f"{queries.shape}: encode them, (n, {self.dimension}), with the model that encoded the documents"
            )
        if hits < 1:
            raise InputError(f"hits is {hits}: expected 1 or more")
        vectors = np.ascontiguousarray(queries, dtype=np.float32)
        with openmp_threads(self._threads):
            scores, rows = self._index.search(vectors, min(hits, len(self)))
        return scores, rows

    def rows_of(self, docids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the row (n,) of each docid, -1 where it is not in the index."""
        return np.array([self._rows.get(docid, -1) for docid in docids], dtype=np.int64)

    def vectors_of(self, rows: npt.NDArray[np.int64]) -> FloatArray:
        """Return the vectors (n, dimension) at rows (n,), as exactly as the kind of index keeps them.

        The first call on an IVF index makes a table of where each row lies, of 8 bytes a vector.

        :raises InputError: a row that is not there, such as the -1 of a missing docid, or an index that keeps no
            vectors
        """
        wrong = (rows < 0) | (rows >= len(self))
        if wrong.any():
            row = rows[wrong][0]
            raise InputError(f"{self.folder}: has no row {row}: rows are 0 to {len(self) - 1}, and -1 a missing docid")
        if not len(rows):
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            return self._reconstructing_index.reconstruct_batch(rows)
        except RuntimeError as error:
            raise self._no_vectors(faiss_reason(error)) from error

    def describe(self) -> dict[str, Any]:
        """Return what identifies the index in a provenance file; the first call reads the whole file for its hash."""
        return {"type": self._kind, "dimension": self.dimension, "vectors": len(self), "sha256": self._sha256}

    @cached_property
    def _sha256(self) -> str:
        return sha256_of_file(self._index_file)

    @property
    def _kind(self) -> str:
        try:
            return str(reverse_index_factory(self._index))
        except (NotImplementedError, AttributeError, AssertionError):
            # Transforms, for instance, have no factory string to go back to.
            return " > ".join(type(layer).__name__ for layer in self._layers)

    @cached_property
    def _reconstructing_index(self) -> faiss.Index:
        """The index, made ready to give vectors back."""
        for layer in self._layers:
            if isinstance(layer, faiss.IndexRefine):
                # It gives back the finer of its two codes, which lie in order.
                break
            if isinstance(layer, faiss.IndexIVFFastScan):
                # faiss 1.15 crashes here instead of raising an error.
                raise self._no_vectors("the lists of a fast-scan index are packed")
            if isinstance(layer, faiss.IndexIVF):
                layer.make_direct_map()
        return self._index

    def _no_vectors(self, reason: str) -> InputError:
        return InputError(
            f"{self.folder}: an index of type {self._kind} does not give vectors back ({reason}): "
            f"encode the documents anew as Flat, SQ8 or fp16"
        )


def _read_index(file: Path) -> faiss.Index:
    try:
        with file.open("rb") as stream:
            mappable = stream.read(4) in _MAPPABLE
        index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC if mappable else 0)
    except OSError as error:
        raise InputError(f"{file}: cannot read: {error.strerror or error}") from error
    except (RuntimeError, MemoryError) as error:
        fault = f"not a FAISS index of float vectors, or not whole ({faiss_reason(error)}): copy or make it again"
        raise FormatError(file, None, fault) from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        fault = "searches by another metric than the inner product: make it again with faiss.METRIC_INNER_PRODUCT"
        raise FormatError(file, None, fault)
    if not index.ntotal:
        raise FormatError(file, None, "holds no vectors: make it again of at least one document")
    for layer in layers(index):
        if isinstance(layer, faiss.IndexIDMap):
            numbers = faiss.vector_to_array(layer.id_map)
            if not np.array_equal(numbers, np.arange(index.ntotal)):
                fault = "numbers its vectors otherwise than the lines of the file docid: make it again without an IDMap"
                raise FormatError(file, None, fault)
    return index


def _read_docids(file: Path) -> dict[str, int]:
    """Return the row of each docid, in order."""
    rows: dict[str, int] = {}
    with closing(read_lines(file)) as lines:
        for line, text in lines:
            # As Pyserini reads it.
            docid = text.rstrip()
            if fault := identifier_fault("docid", docid):
                raise FormatError(file, line, fault)
            if rows.setdefault(docid, line - 1) != line - 1:
                raise FormatError(
                    file, line, f"docid {docid!r} is on line {rows[docid] + 1} too: name each document once"
                )
    return rows
