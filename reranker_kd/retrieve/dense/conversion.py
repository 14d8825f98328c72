"""The same embeddings in an index of another type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.errors import InputError
from reranker_kd.provenance import read_provenance
from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
from reranker_kd.retrieve.dense.encoding import Progress, write_folder
from reranker_kd.retrieve.dense.index_types import resolve_index_type
from reranker_kd.retrieve.dense.parts import VectorParts
from reranker_kd.types import FloatArray

_ROWS = 16384


class _Rows(VectorParts):
    """An index's vectors, so many at a time."""

    def __init__(self, index: EmbeddingIndex) -> None:
        self._index = index

    def __len__(self) -> int:
        return -(-len(self._index) // _ROWS)

    def read(self, number: int) -> FloatArray:
        """Return the vectors of a stretch of rows."""
        return self._index.vectors_of(np.arange(number * _ROWS, min((number + 1) * _ROWS, len(self._index))))


def convert_embeddings(
    index: EmbeddingIndex,
    output: str | Path,
    index_type: str,
    *,
    overwrite: bool = False,
    on_progress: Progress = lambda _: None,
) -> None:
    """Write the vectors of a folder into another one, as an index of another type.

    What the first index lost of the vectors stays lost: convert from Flat.

    :param on_progress: called with the number of vectors written since the last call
    :raises InputError: the output holds embeddings already, or is the folder that is read
    """
    output = Path(output)
    if output.resolve() == index.folder.resolve():
        raise InputError(f"{output}: is the folder that the vectors come from: name another --output")
    if (output / "index").exists() and not overwrite:
        raise InputError(f"{output}: holds embeddings already: name another --output, or --overwrite")
    index_type = resolve_index_type(index_type, index.dimension)
    made_by = read_provenance(index.folder / "index") or {}
    record: dict[str, Any] = {
        key: made_by[key] for key in ("collection", "model", "counts", "seconds") if key in made_by
    }
    record["embeddings"] = index.describe()
    write_folder(output, _Rows(index), index.docids, index.dimension, index_type, record, on_progress)
