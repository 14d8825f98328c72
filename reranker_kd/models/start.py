"""What a network is built from: the weights of another model, or the folder that it was saved in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from reranker_kd.errors import RecipeError
from reranker_kd.models.compact import WEIGHTS, load_weights
from reranker_kd.models.loading import load_transformer
from reranker_kd.models.shrinking import new_transformer, shape_from, shrunk


def load_token_encoder(folder: Path) -> Any:
    """Return a transformer that gives the vectors of tokens, without the pooler of BERT's own head.

    :raises ModelError: it cannot be loaded
    """
    transformer = load_transformer(AutoModel, folder, may_lack=("pooler.",))
    if getattr(transformer, "pooler", None) is not None:
        # It takes no part in what is read here, and its weights may be missing.
        transformer.pooler = None
    return transformer


def check_lengths(shape: Any, config: Any, name: str) -> None:
    """Raise :class:`RecipeError` where a shape has longer inputs than a transformer of this config reads.

    :param name: of the model that it comes from
    """
    positions = config.max_position_embeddings
    for key in ("max_length", "max_query_length"):
        if (length := getattr(shape, key, None) or 0) > positions:
            raise RecipeError(f"student.{key}: {length} tokens do not fit into the {positions} of {name}")


class SavedStart:
    """The folder of a saved student: its transformers as they are, all other weights loaded later.

    :param in_folders: whether each transformer lies in a folder of its own, or the only one in the same folder
    """

    def __init__(self, folder: Path, *, in_folders: bool = True) -> None:
        self._folder = folder
        self._in_folders = in_folders

    def transformer(self, shape: Any, name: str) -> Any:  # noqa: ARG002
        """Return the transformer of the folder ``name``."""
        return load_token_encoder(self._folder / name if self._in_folders else self._folder)

    def word_embeddings(self) -> torch.Tensor | None:
        """Return None: they are among the weights that are loaded later."""
        return None

    def head(self, prefix: str) -> dict[str, torch.Tensor]:  # noqa: ARG002
        """Return nothing, likewise."""
        return {}


class ModelStart:
    """Another model, of which a new student takes what its shape asks for.

    :param name: the model's name in the recipe
    :param folder: where it lies
    :param encoder: its transformer
    """

    def __init__(self, name: str, folder: Path, encoder: Any) -> None:
        self._name = name
        self._folder = folder
        self._encoder = encoder

    def transformer(self, shape: Any, name: str) -> Any:  # noqa: ARG002
        """Return a transformer of a :class:`~reranker_kd.models.kind.TransformerShape`, each time a new one.

        :raises RecipeError: a shape that cannot come out of the model
        """
        config = self._encoder.config
        wanted = shape_from(config, shape)
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = shape.dropout
        transformer = new_transformer(wanted, config) if shape.random else shrunk(self._encoder, wanted)
        check_lengths(shape, transformer.config, self._name)
        return transformer

    def word_embeddings(self) -> torch.Tensor | None:
        """Return the model's word embeddings (vocabulary_size, d)."""
        return self._encoder.get_input_embeddings().weight.detach()

    def head(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return the model's weights whose names begin with ``prefix``, by the rest of their names; none of others."""
        weights = load_weights(self._folder) if (self._folder / WEIGHTS).is_file() else {}
        return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
