"""Students: networks to be trained, of any kind, out of the shape that a recipe gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reranker_kd.models.kind import Kind, Shape
from reranker_kd.models.kinds import KINDS, token_encoder_of
from reranker_kd.models.loading import load_tokenizer
from reranker_kd.models.network import Network
from reranker_kd.models.registry import model_folder
from reranker_kd.models.start import ModelStart


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
        self.kind.save(self.network, self.tokenizer, folder)


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
        start = ModelStart(settings.start, folder, token_encoder_of(folder))
        return Student(kind, kind.build(settings, start), tokenizer, settings)
