"""Whether a model and a folder of embeddings belong together."""

from __future__ import annotations

from reranker_kd.errors import InputError
from reranker_kd.inference.text_encoder import TextEncoder
from reranker_kd.provenance import read_provenance
from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex


def check_made_by(index: EmbeddingIndex, encoder: TextEncoder) -> None:
    """Raise :class:`InputError` where embeddings are of another length, or by their provenance another model's.

    A folder that Pyserini made has no provenance: there the length alone can be checked.
    """
    made_by = (read_provenance(index.folder / "index") or {}).get("model", {})
    ours = encoder.describe()["sha256"]
    if made_by and made_by.get("sha256") != ours:
        raise InputError(
            f"{index.folder}: its vectors were made by another model ({made_by.get('name')}, sha256 "
            f"{str(made_by.get('sha256'))[:12]}) than {encoder.name} (sha256 {ours[:12]}): name the one that made "
            "them, or encode again"
        )
    if index.dimension != encoder.dimension:
        raise InputError(
            f"{index.folder}: its vectors have {index.dimension} dimensions, those of {encoder.name} have "
            f"{encoder.dimension}: name the model that made them, or encode again"
        )


def check_searchable(encoder: TextEncoder) -> None:
    """Raise :class:`InputError` where scores are no inner products, which are all that FAISS can search by."""
    if not encoder.searchable:
        raise InputError(
            f"{encoder.name}: its {encoder.crossing} crossing scores pairs and cannot be searched by: rerank "
            "candidates with it (reranker-kd rerank --embeddings), or search with a twin that crosses by cosine"
        )
