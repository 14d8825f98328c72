"""What every network of this package is, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Network(torch.nn.Module):
    """From token arrays to scores or embeddings.

    Called with ``input_ids``, ``attention_mask`` and, where its tokenizer makes them, ``token_type_ids``, each of shape
    (n, tokens). One that reads pairs returns raw relevance scores (n, 1) in float32. One that reads texts has the
    attributes ``query_tower``, ``document_tower`` (one object where they share weights; each returns embeddings (n, d))
    and ``crossing``, and is called through those.

    :param shape: a :class:`~reranker_kd.models.kind.Shape`
    """

    def __init__(self, shape: Any) -> None:
        super().__init__()
        self.shape = shape

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run in ``dtype``: all of it, unless a kind keeps its scores' own arithmetic in float32."""
        self.to(dtype)

    def observed(self) -> dict[str, float]:
        """Return what the log of its training shows beside the losses."""
        return {}

    def for_inference(self) -> None:
        """Leave out what no score depends on."""


class PreparedTower(Network):
    """From token arrays (n, tokens) to embeddings (n, d) as they are kept: of length 1 where cosines are compared.

    :param tower: from token arrays to embeddings
    :param prepare: from embeddings to what is kept of them, without weights of its own
    """

    def __init__(self, shape: Any, tower: Any, prepare: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(shape)
        self.tower = tower
        self.prepare = prepare

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run the transformer in ``dtype``; pooling and what follows stay in float32."""
        self.tower.lower_precision(dtype)

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        return self.prepare(self.tower(**inputs))
