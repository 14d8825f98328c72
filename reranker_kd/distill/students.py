"""Students: networks to be trained, of any kind, out of the shape that a recipe gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reranker_kd.errors import RecipeError
from reranker_kd.models.kind import Kind, Shape
from reranker_kd.models.kinds import KINDS, kind_of, token_encoder_of
from reranker_kd.models.loading import load_tokenizer
from reranker_kd.models.low_bit import round_weights, with_rounded_weights
from reranker_kd.models.network import Network
from reranker_kd.models.registry import model_folder
from reranker_kd.models.start import ModelStart, check_lengths


@dataclass(frozen=True, slots=True)
class Student:
    """A network to be trained.

    :param kind: what it is
    :param network: trained in place
    :param tokenizer: a ``transformers`` tokenizer
    :param settings: its shape, as the recipe gives it
    """

    kind: Kind
    network: Network
    tokenizer: Any
    settings: Any

    @property
    def encoder(self) -> Any:
        """The transformer that reads pairs, for losses over layers; None without one."""
        return self.kind.encoder(self.network) if self.kind.reads == "pairs" else None

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def save(self, folder: Path) -> None:
        """Write a folder that :func:`reranker_kd.load_reranker` opens."""
        self.kind.save(with_rounded_weights(self.network), self.tokenizer, folder)


def build_student(settings: Shape, seed: int) -> Student:
    """Return a new student.

    :param seed: of the weights that do not come from ``start``
    :raises RecipeError: a shape that cannot come out of ``start``
    :raises ModelError: ``start`` cannot be loaded
    """
    kind = KINDS[settings.kind]
    folder = model_folder(settings.start)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = load_tokenizer(folder)
        # What the start was cut to is no limit of the student.
        tokenizer.model_max_length = max(settings.max_length or 0, getattr(settings, "max_query_length", None) or 0)
        network = _whole(kind, settings, folder) if settings.head == "copied" else None
        if network is None:
            network = kind.build(settings, ModelStart(settings.start, folder, token_encoder_of(folder)))
        if settings.weights != "float":
            transformers = kind.transformers(network) or {"": kind.encoder(network)}
            for transformer in transformers.values():
                if transformer is None:
                    raise RecipeError(
                        f"student.weights: a {kind.name} has no transformer, whose weights would be rounded"
                    )
                round_weights(transformer, settings.weights)
        return Student(kind, network, tokenizer, settings)


# What another shape may change of a whole model.
_LIMITS = {"start", "random", "head", "weights", "max_length", "max_query_length", "dropout", "interpolate"}


def _whole(kind: Kind, settings: Shape, folder: Path) -> Network | None:
    """Return the start with its head, as it is; None where another shape is asked for, and the kind can make it.

    :raises RecipeError: a start of another kind, or a shape that it does not have
    """
    if (found := kind_of(folder).name) != kind.name or settings.random:
        raise RecipeError(f"student.head: copied takes a whole {kind.name} that is not random; {folder} is a {found}")
    network = kind.load(folder)
    kept = {key: getattr(network.shape, key) for key in type(settings).model_fields.keys() - _LIMITS}
    for key, own in kept.items():
        if (asked := getattr(settings, key)) not in (None, own):
            if kind.copies_head:
                return None
            raise RecipeError(f"student.{key}: {asked} is not the start's {own}: leave it out, or head: copied")
    encoder = kind.encoder(network)
    if encoder is not None:
        check_lengths(settings, encoder.config, settings.start)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = settings.dropout
    network.shape = settings.model_copy(update=kept)
    return network
