"""A tower of a model that reads texts, together with the form in which its embeddings are kept."""

from __future__ import annotations

from typing import Any

import torch

from reranker_kd.models.crossing import DotCrossing
from reranker_kd.models.network import Network


class PreparedTower(Network):
    """From token arrays (n, tokens) to embeddings (n, d) as they are kept: of length 1 where cosines are compared.

    :param tower: from token arrays to embeddings
    :param crossing: says in which form they are kept
    """

    def __init__(self, shape: Any, tower: Any, crossing: DotCrossing) -> None:
        super().__init__(shape)
        self.tower = tower
        self.crossing = crossing

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run the transformer in ``dtype``; pooling and what follows stay in float32."""
        self.tower.lower_precision(dtype)

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        return self.crossing.prepare(self.tower(**inputs))
