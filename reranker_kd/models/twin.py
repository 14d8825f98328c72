"""TwinBERT (Lu, Jiao and Zhang 2020, arXiv 2002.06275): two towers, pooling, a crossing layer; and any bi-encoder.

A twin of one tower that sentence-transformers can express is saved as a folder that it opens; what it has no place for
lies beside it in ``reranker_kd.json`` and ``heads.safetensors``. All others have a layout of our own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import AliasChoices, ConfigDict, Field

from reranker_kd.errors import ModelError
from reranker_kd.models import own_layout
from reranker_kd.models.crossing import DotCrossing, make_crossing
from reranker_kd.models.kind import Kind, Start, TransformerShape
from reranker_kd.models.network import Network
from reranker_kd.models.pooling import FixedPooling, PoolingName, WeightedPooling
from reranker_kd.models.sentence_encoder import (
    MODULES_FILE,
    Normalize,
    SentenceEncoder,
    load_sentence_encoder,
    read_sentence_settings,
    sentence_transformers_files,
)
from reranker_kd.models.settings import TextSettings

_SHAPE_FILE = "reranker_kd.json"


class TwinShape(TransformerShape, TextSettings):
    """The shape of a twin.

    :param towers: ``shared`` weights for query and document (folder ``tower``), or ``separate`` ones (folders
        ``query`` and ``document``)
    :param pooling: ``weighted`` (learnt), or a name out of :data:`reranker_kd.models.pooling.POOLINGS`
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["twin"] = "twin"
    max_length: int | None = Field(
        default=160, ge=4, validation_alias=AliasChoices("max_length", "max_document_length")
    )
    towers: Literal["shared", "separate"] = "shared"
    pooling: PoolingName = "mean"


class Twin(Network):
    """Two towers and a crossing layer.

    :param query_tower: from token arrays (n, tokens) to embeddings (n, d)
    :param document_tower: likewise; the same object where weights are shared
    :param crossing: from both embeddings to a score
    """

    def __init__(
        self,
        shape: TwinShape,
        query_tower: SentenceEncoder,
        document_tower: SentenceEncoder,
        crossing: DotCrossing,
    ) -> None:
        super().__init__(shape)
        self.query_tower = query_tower
        self.document_tower = document_tower
        self.crossing = crossing

    @property
    def shared(self) -> bool:
        """Whether one tower serves queries and documents."""
        return self.query_tower is self.document_tower

    def dimension(self) -> int:
        """Return the length of an embedding."""
        one = torch.zeros((1, 1), dtype=torch.long, device=next(self.parameters()).device)
        with torch.inference_mode():
            return int(self.document_tower(input_ids=one, attention_mask=one + 1).shape[1])


def build(shape: TwinShape, start: Start) -> Twin:
    """Return a twin with new pooling and crossing weights.

    :raises ModelError: towers of different widths
    """
    towers = []
    for name in _tower_names(shape):
        transformer = start.transformer(shape, name)
        learnt = shape.pooling == "weighted"
        pooling = WeightedPooling(transformer.config.hidden_size) if learnt else FixedPooling(shape.pooling)
        towers.append(SentenceEncoder(transformer, pooling))
    widths = [tower.width for tower in towers]
    if len(set(widths)) > 1:
        raise ModelError(f"towers of different widths ({widths[0]} and {widths[1]}) have no common embedding space")
    return Twin(shape, towers[0], towers[-1], make_crossing(shape.crossing, widths[0]))


def _tower_names(shape: TwinShape) -> list[str]:
    return ["tower"] if shape.towers == "shared" else ["query", "document"]


def _transformers(twin: Twin) -> dict[str, Any]:
    towers = [twin.query_tower] if twin.shared else [twin.query_tower, twin.document_tower]
    return dict(zip(_tower_names(twin.shape), (tower.transformer for tower in towers), strict=True))


def _fits_sentence_transformers(twin: Twin) -> bool:
    return twin.shared and twin.shape.pooling != "weighted" and twin.crossing.searchable


def save(kind: Kind, twin: Twin, tokenizer: Any, folder: Path) -> None:
    """Write a twin and its tokenizer, as a sentence-transformers folder where that can express it.

    :raises ModelError: a tower with dense layers or several poolings, as some sentence-transformers models have; they
        save themselves
    """
    if any(len(tower.layers) for tower in (twin.query_tower, twin.document_tower)):
        raise ModelError("layers after the pooling are not part of a twin's folder")
    if len(getattr(twin.query_tower.pooling, "names", "")) > 1:
        raise ModelError("several poolings are not part of a twin's folder")
    if not _fits_sentence_transformers(twin):
        own_layout.save(kind, twin, tokenizer, folder)
        return
    own_layout.save(kind, twin, tokenizer, folder, _SHAPE_FILE)
    for name, content in sentence_transformers_files(twin.query_tower, twin.shape, twin.shape.pooling).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load(kind: Kind, folder: Path) -> Network:
    """Load a twin, or a sentence-transformers bi-encoder as the twin of one tower that it is.

    :raises ModelError: a broken folder, an unknown key, weights that do not fit
    """
    if not (folder / MODULES_FILE).is_file():
        return own_layout.load(kind, folder)
    if (folder / _SHAPE_FILE).is_file():
        return own_layout.load(kind, folder, _SHAPE_FILE)
    encoder, settings = load_sentence_encoder(folder), read_sentence_settings(folder)
    shape = TwinShape(pooling=getattr(encoder.pooling, "names", ("mean",))[0], **settings.model_dump())
    if shape.crossing == "cosine" and len(encoder.layers) and isinstance(encoder.layers[-1], Normalize):
        # The cosine sees to it.
        del encoder.layers[-1]
    return Twin(shape, encoder, encoder, make_crossing(shape.crossing, encoder.width))


KIND = Kind(
    name="twin",
    reads="texts",
    shape=TwinShape,
    build=build,
    encoder=lambda twin: twin.document_tower.transformer,
    transformers=_transformers,
    recognises=lambda folder, _: (folder / MODULES_FILE).is_file(),
    reader=load,
    writer=save,
    opens_in=lambda twin: "sentence-transformers" if _fits_sentence_transformers(twin) else "",
)
