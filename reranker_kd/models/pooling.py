"""From the vectors of a text's tokens to one vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import AfterValidator

Pooling = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From token vectors (n, tokens, width) and their mask (n, tokens, 1) to text vectors (n, width)."""


def _mean(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (vectors * mask).sum(1) / mask.sum(1).clamp(min=1e-9)


def _mean_sqrt_length(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (vectors * mask).sum(1) / mask.sum(1).clamp(min=1e-9).sqrt()


def _weighted_mean(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    # SGPT (Muennighoff 2022, equation 1): the later the token, the heavier.
    weights = mask * torch.arange(1, vectors.shape[1] + 1, device=vectors.device)[None, :, None]
    return (vectors * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def _max(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return vectors.masked_fill(mask == 0, -torch.inf).amax(1)


def _first(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    return vectors[:, 0]


def _last(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    last = mask.sum(1).long().clamp(min=1) - 1
    return vectors.gather(1, last[:, :, None].expand(-1, 1, vectors.shape[2])).squeeze(1)


POOLINGS: dict[str, Pooling] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_length,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}


def _known(name: str) -> str:
    if name not in ("weighted", *POOLINGS):
        raise ValueError(f"no pooling {name!r}; known: weighted, {', '.join(POOLINGS)}")
    return name


PoolingName = Annotated[str, AfterValidator(_known)]
"""A name out of :data:`POOLINGS`, or ``weighted`` for :class:`WeightedPooling`."""


class FixedPooling(torch.nn.Module):
    """Pooling without weights.

    :param names: out of :data:`POOLINGS`; the vectors of several are concatenated
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.cat([POOLINGS[name](vectors, mask) for name in self.names], dim=1)


class WeightedPooling(torch.nn.Module):
    """The weighted average of token vectors, with weights learnt from the vectors (TwinBERT, section 3.2).

    A linear layer gives each token a number; a softmax over the text's tokens makes weights of them.

    :param width: of a token vector
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = torch.nn.Linear(width, 1)

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weights = self.weigh(vectors).masked_fill(mask == 0, -torch.inf).softmax(dim=1)
        return (vectors * weights).sum(1)
