"""TwinBERT (Lu, Jiao and Zhang 2020, arXiv 2002.06275): two towers, pooling, a crossing layer; in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from reranker_kd.errors import ModelError
from reranker_kd.models.crossing import CosineCrossing, DotCrossing, make_crossing
from reranker_kd.models.heads import load_config, load_heads, save_heads
from reranker_kd.models.loading import quiet_transformers
from reranker_kd.models.pooling import POOLINGS, FixedPooling, WeightedPooling
from reranker_kd.models.sentence_encoder import (
    Normalize,
    SentenceEncoder,
    load_sentence_encoder,
    load_token_encoder,
    read_sentence_settings,
)


class TwinConfig(BaseModel):
    """What ``config.json`` of a twin's folder says.

    :param towers: ``shared`` weights for query and document (folder ``tower``), or ``separate`` ones (folders
        ``query`` and ``document``)
    :param pooling: ``weighted`` (learnt), or a name out of :data:`reranker_kd.models.pooling.POOLINGS`
    :param crossing: ``cosine``, ``dot`` or ``residual``
    :param max_query_length: tokens of a query, special tokens included; None takes the transformer's limit
    :param max_document_length: tokens of a document, likewise
    :param query_prompt: put before each query
    :param document_prompt: put before each document
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_type: Literal["twin"] = "twin"
    towers: Literal["shared", "separate"] = "shared"
    pooling: str = "mean"
    crossing: Literal["cosine", "dot", "residual"] = "cosine"
    max_query_length: int | None = Field(default=None, ge=4)
    max_document_length: int | None = Field(default=None, ge=4)
    query_prompt: str = ""
    document_prompt: str = ""


class Twin(torch.nn.Module):
    """Two towers and a crossing layer.

    :param query_tower: from token arrays (n, tokens) to embeddings (n, d)
    :param document_tower: likewise; the same object where weights are shared
    :param crossing: from both embeddings to a score
    """

    def __init__(
        self,
        config: TwinConfig,
        query_tower: SentenceEncoder,
        document_tower: SentenceEncoder,
        crossing: DotCrossing,
    ) -> None:
        super().__init__()
        self.config = config
        self.query_tower = query_tower
        self.document_tower = document_tower
        self.crossing = crossing

    @property
    def shared(self) -> bool:
        """Whether one tower serves queries and documents."""
        return self.query_tower is self.document_tower

    @property
    def transformer_config(self) -> Any:
        """The configuration of the document tower's transformer."""
        return self.document_tower.transformer.config

    def dimension(self) -> int:
        """Return the length of an embedding."""
        one = torch.zeros((1, 1), dtype=torch.long, device=next(self.parameters()).device)
        with torch.inference_mode():
            return int(self.document_tower(input_ids=one, attention_mask=one + 1).shape[1])


def make_twin(config: TwinConfig, query_transformer: Any, document_transformer: Any = None) -> Twin:
    """Return a twin around transformers (BERT, ALBERT, ...), with new pooling and crossing weights.

    :param document_transformer: needed where the towers are separate
    :raises ModelError: an unknown pooling, or towers of different widths
    """
    if (config.towers == "separate") != (document_transformer is not None):
        raise ModelError(f"a twin of {config.towers} towers takes {1 if config.towers == 'shared' else 2} transformers")
    query_tower = _tower(config, query_transformer)
    document_tower = query_tower if document_transformer is None else _tower(config, document_transformer)
    widths = [_width(tower) for tower in (query_tower, document_tower)]
    if widths[0] != widths[1]:
        raise ModelError(f"towers of different widths ({widths[0]} and {widths[1]}) have no common embedding space")
    return Twin(config, query_tower, document_tower, make_crossing(config.crossing, widths[0]))


def _width(tower: SentenceEncoder) -> int:
    config: Any = tower.transformer.config
    return int(config.hidden_size)


def _tower(config: TwinConfig, transformer: Any) -> SentenceEncoder:
    if config.pooling == "weighted":
        return SentenceEncoder(transformer, WeightedPooling(transformer.config.hidden_size))
    if config.pooling not in POOLINGS:
        raise ModelError(f"pooling {config.pooling!r} is not known; known: weighted, {', '.join(POOLINGS)}")
    return SentenceEncoder(transformer, FixedPooling(config.pooling))


def save_twin(twin: Twin, tokenizer: Any, folder: Path) -> None:
    """Write both towers, pooling, crossing and tokenizer into a folder that :func:`load_twin` reads.

    :raises ModelError: a tower with dense layers, as some sentence-transformers models have; they save themselves
    """
    if any(len(tower.layers) for tower in (twin.query_tower, twin.document_tower)):
        raise ModelError("layers after the pooling are not part of a twin's folder")
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        for name, tower in _towers_by_name(twin):
            tower.transformer.save_pretrained(folder / name)  # type: ignore[operator]
        tokenizer.save_pretrained(folder)
    save_heads(folder, twin.config, _heads(twin))


def load_twin(folder: Path) -> Twin:
    """Load a twin, or a sentence-transformers bi-encoder as the twin of one tower that it is.

    :param folder: what :func:`save_twin` wrote, or sentence-transformers (told by ``modules.json``)
    :raises ModelError: a broken folder, an unknown key, weights that do not fit
    """
    if (folder / "modules.json").is_file():
        return _load_sentence_transformers(folder)
    config = load_config(folder, TwinConfig)
    names = ["tower"] if config.towers == "shared" else ["query", "document"]
    twin = make_twin(config, *(load_token_encoder(folder / name) for name in names))
    load_heads(folder, twin, _heads(twin))
    return twin


def _towers_by_name(twin: Twin) -> list[tuple[str, SentenceEncoder]]:
    if twin.shared:
        return [("tower", twin.query_tower)]
    return [("query", twin.query_tower), ("document", twin.document_tower)]


def _heads(twin: Twin) -> dict[str, torch.Tensor]:
    heads = {f"crossing.{name}": value for name, value in twin.crossing.state_dict().items()}
    for name, tower in [("query_tower", twin.query_tower), ("document_tower", twin.document_tower)]:
        heads |= {f"{name}.pooling.{key}": value.clone() for key, value in tower.pooling.state_dict().items()}
    return heads


def _load_sentence_transformers(folder: Path) -> Twin:
    settings = read_sentence_settings(folder)
    encoder = load_sentence_encoder(folder)
    config = TwinConfig(
        pooling=getattr(encoder.pooling, "names", ("mean",))[0],
        crossing="cosine" if settings.similarity == "cosine" else "dot",
        max_query_length=settings.max_length,
        max_document_length=settings.max_length,
        query_prompt=settings.query_prompt,
        document_prompt=settings.document_prompt,
    )
    if config.crossing == "cosine" and len(encoder.layers) and isinstance(encoder.layers[-1], Normalize):
        # The cosine sees to it.
        encoder.layers = torch.nn.Sequential(*list(encoder.layers)[:-1])
    crossing = CosineCrossing() if config.crossing == "cosine" else DotCrossing()
    return Twin(config, encoder, encoder, crossing)
