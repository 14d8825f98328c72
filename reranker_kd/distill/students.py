"""Students: what a recipe says of their shape, and the networks that come of it. A new kind is a line in STUDENTS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from transformers import BertForSequenceClassification, ElectraForSequenceClassification

from reranker_kd.errors import RecipeError
from reranker_kd.inference.framed_pairs import FramedPairTokenizer
from reranker_kd.inference.pair_tokenizer import PairTokenizer
from reranker_kd.models.bert_bilstm import BertBiLSTM, BertBiLSTMConfig, save_bert_bilstm
from reranker_kd.models.folder import read_json
from reranker_kd.models.gated_cross_encoder import (
    GatedCrossEncoder,
    GatedCrossEncoderConfig,
    save_gated_cross_encoder,
)
from reranker_kd.models.loading import load_tokenizer, quiet_transformers
from reranker_kd.models.pooling import POOLINGS
from reranker_kd.models.registry import model_folder
from reranker_kd.models.sentence_encoder import load_token_encoder, read_modules
from reranker_kd.models.shrinking import TransformerShape, new_transformer, shape_from, shrunk
from reranker_kd.models.twin import TwinConfig, load_twin, make_twin, save_twin


class StudentSettings(BaseModel):
    """The student of a recipe.

    :param kind: a name out of :data:`STUDENTS`
    :param start: the model whose vocabulary, and unless ``random``, whose weights the student starts from
    :param random: start from nothing but the vocabulary
    :param layers: how many layers, or which of the start's, counted from 1
    :param max_length: tokens of an input; of a twin, of a document
    :param dropout: in training; soft targets over many pairs leave little to regularise, and on a CPU it takes most of
        the time
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["cross-encoder", "twin", "bert-bilstm", "gated-cross-encoder"] = "cross-encoder"
    start: str
    random: bool = False
    layers: int | tuple[int, ...] | None = None
    hidden_size: int | None = Field(default=None, ge=1)
    heads: int | None = Field(default=None, ge=1)
    intermediate_size: int | None = Field(default=None, ge=1)
    embedding_size: int | None = Field(default=None, ge=1)
    max_length: int = Field(default=160, ge=16)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    # Twins.
    towers: Literal["shared", "separate"] = "shared"
    pooling: str = "mean"
    crossing: Literal["cosine", "dot", "residual"] = "cosine"
    max_query_length: int | None = Field(default=None, ge=4)
    # BertBiLSTM.
    attention_size: int = Field(default=128, ge=1)
    classifier_size: int = Field(default=256, ge=1)

    @field_validator("pooling")
    @classmethod
    def _known_pooling(cls, value: str) -> str:
        if value not in ("weighted", *POOLINGS):
            raise ValueError(f"no pooling {value!r}; known: weighted, {', '.join(POOLINGS)}")
        return value


@dataclass(frozen=True, slots=True)
class Student:
    """A network to be trained.

    :param network: a cross-encoder's or BertBiLSTM's classifier, or a
        :class:`reranker_kd.models.twin.Twin`
    :param encoder: its transformer, for losses over layers; None without one
    :param tokenizer: a ``transformers`` tokenizer
    :param settings: its shape
    :param save: writes a folder that :func:`reranker_kd.load_reranker` opens
    :param framed: how its sequences are framed
    """

    network: torch.nn.Module
    encoder: Any
    tokenizer: Any
    settings: StudentSettings
    save: Callable[[Path], None]
    framed: type[PairTokenizer] = PairTokenizer

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.network.parameters())


def build_student(settings: StudentSettings, seed: int) -> Student:
    """Return a new student.

    :param seed: of the weights that do not come from ``start``
    :raises RecipeError: a shape that cannot come out of ``start``
    :raises ModelError: ``start`` cannot be loaded
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return STUDENTS[settings.kind](settings, model_folder(settings.start))


def token_encoder_of(folder: Path) -> Any:
    """Return the transformer of any model's folder: of a bi-encoder, a twin (its document tower) or a classifier.

    :raises RecipeError: a model without one
    :raises ModelError: it cannot be loaded
    """
    if (folder / "modules.json").is_file():
        return load_token_encoder(folder / str(read_modules(folder)[0].get("path", "")))
    model_type = read_json(folder / "config.json").get("model_type")
    if model_type == "twin":
        return load_twin(folder).document_tower.transformer
    if model_type == "gated-cross-encoder":
        return load_token_encoder(folder / "transformer")
    if model_type == "bert-bilstm":
        raise RecipeError(f"student.start: {folder} is a BertBiLSTM and has no transformer to start from")
    return load_token_encoder(folder)


def _transformer(settings: StudentSettings, large: Any) -> Any:
    shape = _shape(settings, large.config)
    large.config.hidden_dropout_prob = large.config.attention_probs_dropout_prob = settings.dropout
    transformer = new_transformer(shape, large.config) if settings.random else shrunk(large, shape)
    positions = transformer.config.max_position_embeddings
    for key, length in (("max_length", settings.max_length), ("max_query_length", settings.max_query_length or 0)):
        if length > positions:
            raise RecipeError(f"student.{key}: {length} tokens do not fit into the {positions} of {settings.start}")
    return transformer


def _shape(settings: StudentSettings, config: Any) -> TransformerShape:
    return shape_from(
        config,
        layers=settings.layers,
        hidden_size=settings.hidden_size,
        heads=settings.heads,
        intermediate_size=settings.intermediate_size,
        embedding_size=settings.embedding_size,
    )


def _tokenizer(folder: Path, max_length: int) -> Any:
    tokenizer = load_tokenizer(folder)
    # What the start was cut to is no limit of the student.
    tokenizer.model_max_length = max_length
    return tokenizer


def _cross_encoder(settings: StudentSettings, folder: Path) -> Student:
    tokenizer = _tokenizer(folder, settings.max_length)
    transformer = _transformer(settings, token_encoder_of(folder))
    config = transformer.config
    config.num_labels = 1
    if config.model_type == "electra":
        classifier: Any = ElectraForSequenceClassification(config)
        classifier.electra = transformer
    else:
        classifier = BertForSequenceClassification(config)
        classifier.bert.embeddings, classifier.bert.encoder = transformer.embeddings, transformer.encoder
        transformer = classifier.bert

    def save(target: Path) -> None:
        with quiet_transformers():
            classifier.save_pretrained(target)
            tokenizer.save_pretrained(target)

    return Student(classifier, transformer, tokenizer, settings, save)


def _twin(settings: StudentSettings, folder: Path) -> Student:
    tokenizer = _tokenizer(folder, max(settings.max_length, settings.max_query_length or 0))
    config = TwinConfig(
        towers=settings.towers,
        pooling=settings.pooling,
        crossing=settings.crossing,
        max_query_length=settings.max_query_length or settings.max_length,
        max_document_length=settings.max_length,
    )
    towers = [_transformer(settings, token_encoder_of(folder)) for _ in range(1 if config.towers == "shared" else 2)]
    twin = make_twin(config, *towers)
    return Student(twin, None, tokenizer, settings, lambda target: save_twin(twin, tokenizer, target))


def _bert_bilstm(settings: StudentSettings, folder: Path) -> Student:
    if isinstance(settings.layers, tuple):
        raise RecipeError("student.layers: an LSTM takes no layers from its start: give their number")
    tokenizer = _tokenizer(folder, settings.max_length)
    table = token_encoder_of(folder).get_input_embeddings().weight.detach()
    config = BertBiLSTMConfig(
        vocabulary_size=len(table),
        embedding_size=settings.embedding_size or min(128, table.shape[1]),
        hidden_size=settings.hidden_size or 256,
        layers=1 if settings.layers is None else settings.layers,
        dropout=settings.dropout,
        attention_size=settings.attention_size,
        classifier_size=settings.classifier_size,
        max_length=settings.max_length,
    )
    network = BertBiLSTM(config) if settings.random else BertBiLSTM.from_word_embeddings(config, table)
    return Student(network, None, tokenizer, settings, lambda target: save_bert_bilstm(network, tokenizer, target))


def _gated_cross_encoder(settings: StudentSettings, folder: Path) -> Student:
    tokenizer = _tokenizer(folder, settings.max_length)
    config = GatedCrossEncoderConfig(max_length=settings.max_length)
    network = GatedCrossEncoder(config, _transformer(settings, token_encoder_of(folder)))
    return Student(
        network,
        network.transformer,
        tokenizer,
        settings,
        lambda target: save_gated_cross_encoder(network, tokenizer, target),
        FramedPairTokenizer,
    )


STUDENTS: dict[str, Callable[[StudentSettings, Path], Student]] = {
    "cross-encoder": _cross_encoder,
    "twin": _twin,
    "bert-bilstm": _bert_bilstm,
    "gated-cross-encoder": _gated_cross_encoder,
}
"""Kinds of students: from settings and the folder of ``start`` to a new student."""
