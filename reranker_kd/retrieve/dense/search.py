"""Dense retrieval, here and in Pyserini: documents whose embeddings have the largest inner product with the query's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from reranker_kd.errors import InputError
from reranker_kd.inference.text_encoder import TextEncoder, load_encoder
from reranker_kd.provenance import read_provenance
from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
from reranker_kd.types import FloatArray, Run, Topics, in_rank_order


def search_topics(
    index: EmbeddingIndex,
    encoder: TextEncoder,
    topics: Topics,
    *,
    hits: int = 1000,
    batch_size: int = 256,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Run:
    """Return the documents found for each topic, at most ``hits``.

    :param batch_size: topics that are encoded and searched together
    :param on_progress: called with the number of topics finished since the last call
    :raises InputError: a model that did not make the embeddings, or whose scores are no inner products
    """
    _check_searchable(encoder)
    check_made_by(index, encoder)
    run: Run = {}
    remaining = iter(topics.items())
    while batch := list(islice(remaining, batch_size)):
        scores, rows = index.search(encoder.encode_queries([text for _, text in batch]), hits)
        for (qid, _), found, values in zip(batch, rows.tolist(), scores.tolist(), strict=True):
            # FAISS fills up with row -1 where it finds fewer.
            documents = {index.docids[row]: score for row, score in zip(found, values, strict=True) if row >= 0}
            run[qid] = in_rank_order(documents)
        on_progress(len(batch))
    return run


class QueryEncoder:
    """Encodes queries as ``pyserini.search.faiss.FaissSearcher`` asks for it, for users who stay in Pyserini.

    :param name: a twin or a sentence-transformers bi-encoder: a folder, an installed model or a hub id
    :param options: those of :class:`reranker_kd.inference.options.ModelOptions`
    :raises ModelError: the model cannot be loaded
    :raises InputError: its scores are no inner products
    """

    def __init__(self, name: str | Path, **options: Any) -> None:
        self._encoder = load_encoder(name, **options)
        _check_searchable(self._encoder)
        self.dimension = self._encoder.dimension

    def encode(self, query: str, **_: Any) -> FloatArray:
        """Return the embedding (dimension,) of a query."""
        return self._encoder.encode_queries([query])[0]

    def encode_batch(self, queries: Sequence[str], **_: Any) -> FloatArray:
        """Return the embeddings (n, dimension) of queries."""
        return self._encoder.encode_queries(list(queries))


def check_made_by(index: EmbeddingIndex, encoder: TextEncoder) -> None:
    """Raise :class:`InputError` where embeddings are of another length, or by their provenance another model's.

    A folder that Pyserini made has no provenance: there the length alone can be checked.
    """
    made_by = (read_provenance(index.folder / "index") or {}).get("model", {})
    ours = encoder.describe()["sha256"]
    if made_by and made_by.get("sha256") != ours:
        theirs = f"{made_by.get('name')}, sha256 {str(made_by.get('sha256'))[:12]}"
        fault = f"were made by another model ({theirs}) than {encoder.name} (sha256 {ours[:12]})"
    elif index.dimension != encoder.dimension:
        fault = f"have {index.dimension} dimensions, those of {encoder.name} have {encoder.dimension}"
    else:
        return
    raise InputError(f"{index.folder}: its vectors {fault}: name the model that made them, or encode again")


def _check_searchable(encoder: TextEncoder) -> None:
    if not encoder.searchable:
        raise InputError(
            f"{encoder.name}: its {encoder.crossing} crossing scores pairs and cannot be searched by: rerank "
            "candidates with it (reranker-kd rerank --embeddings), or search with a twin that crosses by cosine"
        )
