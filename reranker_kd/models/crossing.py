"""Crossing layers: from the embeddings of a query and of a document to one score (TwinBERT, section 3.3).

A crossing says in which form embeddings are kept (:meth:`prepare`), how two kept ones score, and what number is held
against a teacher's logit. All that can be precomputed for a document lies before it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

from reranker_kd.errors import ModelError
from reranker_kd.models.compact import load_weights
from reranker_kd.models.folder import first_line

_FILE = "crossing.safetensors"


class DotCrossing(torch.nn.Module):
    """The inner product, of embeddings as they are."""

    name = "dot"
    searchable = True
    """Whether the best documents of a query can be found by inner product, as FAISS does."""

    def prepare(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the form in which embeddings (n, d) are kept and crossed."""
        return embeddings

    def forward(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return the scores (n,) of prepared query and document embeddings, both (n, d), row by row."""
        return (queries * documents).sum(1)

    def logits(self, scores: torch.Tensor) -> torch.Tensor:
        """Return what stands for a logit in training, of scores of any shape."""
        return scores


class CosineCrossing(DotCrossing):
    """The cosine; in training, times a learnt scale plus a learnt bias it is a logit.

    Scale and bias change no order, so a score is the cosine itself: what FAISS gives for the same vectors.
    """

    name = "cosine"

    def __init__(self, scale: float = 20.0, bias: float = 0.0) -> None:
        super().__init__()
        # The logarithm is learnt, so that the scale stays positive.
        self.log_scale = torch.nn.Parameter(torch.tensor(float(scale)).log())
        self.bias = torch.nn.Parameter(torch.tensor(float(bias)))

    def prepare(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return embeddings (n, d) of length 1."""
        return normalize(embeddings, dim=1)

    def logits(self, scores: torch.Tensor) -> torch.Tensor:
        """Return ``scale * cosine + bias``."""
        return scores * self.log_scale.exp() + self.bias


class ResidualCrossing(CosineCrossing):
    """The residual network for the relevance task (TwinBERT, equations 3 to 5), beside the cosine.

    The combined embedding is the larger of both in each dimension, ``x = max(q, d)``; a residual ``F(x)`` of two
    linear layers with a ReLU between them is added to it; a linear layer makes a logit of that. The cosine's own logit
    is added, which the paper has not: with a last layer that is 0 at first, training begins with the order of the
    cosine and not with chance.

    :param width: of an embedding
    """

    name = "residual"
    searchable = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(width, width)
        self.outer = torch.nn.Linear(width, width)
        self.classify = torch.nn.Linear(width, 1, bias=False)
        torch.nn.init.zeros_(self.classify.weight)

    def forward(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return the logits (n,) of query and document embeddings, both (n, d), row by row."""
        combined = torch.maximum(queries, documents)
        residual = self.outer(torch.relu(self.inner(combined)))
        logits = CosineCrossing.logits(self, super().forward(queries, documents))
        return logits + self.classify(residual + combined).squeeze(1)

    def logits(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores, which are logits."""
        return scores


def make_crossing(name: str, width: int) -> DotCrossing:
    """Return a new crossing layer by its name: cosine, dot or residual."""
    return ResidualCrossing(width) if name == "residual" else {"cosine": CosineCrossing, "dot": DotCrossing}[name]()


def save_crossing(crossing: DotCrossing, folder: Path) -> None:
    """Write a crossing's weights into the folder of an exported model."""
    save_file(crossing.state_dict(), folder / _FILE)


def load_crossing(folder: Path, name: str, width: int) -> DotCrossing:
    """Return the crossing layer of an exported model.

    :raises ModelError: a broken file, or weights that do not fit
    """
    crossing = make_crossing(name, width)
    weights = load_weights(folder, _FILE)
    try:
        crossing.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(f"{folder / _FILE}: cannot be loaded: {first_line(error)}") from None
    return crossing.eval()
