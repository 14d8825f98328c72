"""Students: what a recipe says of their shape, and the networks that come of it. A new kind is a line in STUDENTS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from transformers import BertForSequenceClassification, ElectraForSequenceClassification

from reranker_kd.distill.shrinking import TransformerShape, new_transformer, shape_from, shrunk
from reranker_kd.errors import RecipeError
from reranker_kd.models.bert_bilstm import BertBiLSTM, BertBiLSTMConfig, save_bert_bilstm
from reranker_kd.models.folder import read_json
from reranker_kd.models.loading import load_tokenizer, quiet_transformers
from reranker_kd.models.registry import model_folder
from reranker_kd.models.sentence_encoder import load_token_encoder, read_modules
from reranker_kd.models.twin import TwinConfig, load_twin, make_twin, save_twin


class StudentSettings(BaseModel):
    """The student of a recipe.

    :param kind: ``cross-encoder``, ``twin`` or ``bert-bilstm``
    :param start: the model whose vocabulary, and unless ``random``, whose weights the student starts from
    :param random: start from nothing but the vocabulary
    :param layers: how many layers, or which of the start's, counted from 1
    :param max_length: tokens of an input; of a twin, of a document
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["cross-encoder", "twin", "bert-bilstm"] = "cross-encoder"
    start: str
    random: bool = False
    layers: int | tuple[int, ...] | None = None
    hidden_size: int | None = Field(default=None, ge=1)
    heads: int | None = Field(default=None, ge=1)
    intermediate_size: int | None = Field(default=None, ge=1)
    embedding_size: int | None = Field(default=None, ge=1)
    max_length: int = Field(default=160, ge=16)
    # Twins.
    towers: Literal["shared", "separate"] = "shared"
    pooling: str = "mean"
    crossing: Literal["cosine", "dot", "residual"] = "cosine"
    max_query_length: int | None = Field(default=None, ge=4)
    # BertBiLSTM.
    attention_size: int = Field(default=128, ge=1)
    classifier_size: int = Field(default=256, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)


@dataclass(frozen=True, slots=True)
class Student:
    """A network to be trained.

    :param network: a cross-encoder's or BertBiLSTM's classifier, or a
        :class:`reranker_kd.models.twin.Twin`
    :param encoder: its transformer, for losses over layers; None without one
    :param tokenizer: a ``transformers`` tokenizer
    :param settings: its shape
    :param save: writes a folder that :func:`reranker_kd.load_reranker` opens
    """

    network: torch.nn.Module
    encoder: Any
    tokenizer: Any
    settings: StudentSettings
    save: Callable[[Path], None]

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
    if model_type == "bert-bilstm":
        raise RecipeError(f"student.start: {folder} is a BertBiLSTM and has no transformer to start from")
    return load_token_encoder(folder)


def _transformer(settings: StudentSettings, large: Any) -> Any:
    shape = _shape(settings, large.config)
    return new_transformer(shape, large.config) if settings.random else shrunk(large, shape)


def _shape(settings: StudentSettings, config: Any) -> TransformerShape:
    return shape_from(
        config,
        layers=settings.layers,
        hidden_size=settings.hidden_size,
        heads=settings.heads,
        intermediate_size=settings.intermediate_size,
        embedding_size=settings.embedding_size,
    )


def _cross_encoder(settings: StudentSettings, folder: Path) -> Student:
    tokenizer = load_tokenizer(folder)
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
        tokenizer.model_max_length = settings.max_length
        with quiet_transformers():
            classifier.save_pretrained(target)
            tokenizer.save_pretrained(target)

    return Student(classifier, transformer, tokenizer, settings, save)


def _twin(settings: StudentSettings, folder: Path) -> Student:
    tokenizer = load_tokenizer(folder)
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
    tokenizer = load_tokenizer(folder)
    table = token_encoder_of(folder).get_input_embeddings().weight.detach()
    config = BertBiLSTMConfig(
        vocabulary_size=len(table),
        embedding_size=settings.embedding_size or 128,
        hidden_size=settings.hidden_size or 256,
        layers=settings.layers if isinstance(settings.layers, int) else 1,
        dropout=settings.dropout,
        attention_size=settings.attention_size,
        classifier_size=settings.classifier_size,
        max_length=settings.max_length,
    )
    network = BertBiLSTM(config) if settings.random else BertBiLSTM.from_word_embeddings(config, table)
    return Student(network, None, tokenizer, settings, lambda target: save_bert_bilstm(network, tokenizer, target))


STUDENTS: dict[str, Callable[[StudentSettings, Path], Student]] = {
    "cross-encoder": _cross_encoder,
    "twin": _twin,
    "bert-bilstm": _bert_bilstm,
}
"""Kinds of students: from settings and the folder of ``start`` to a new student."""
