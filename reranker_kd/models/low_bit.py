"""Weights of one or two bits, learnt as such: what a layer computes with is rounded, what is trained beneath it is not.

TernaryBERT (Zhang et al. 2020, arXiv 2009.12812): a matrix has the levels -a, 0 and a, the word embeddings a level of
their own for each row. Biases, norms and heads stay as they are, positions have 8 bits. The gradient passes through the
rounding as if it were not there. Rounding is a parametrisation of torch's, so that whoever reads a layer's weight reads
the rounded one; saved is the rounded one alone, which loads like any other and fits into two bits (see ``compact.py``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from reranker_kd.models.compact import compact, expanded

Levels = Callable[[Tensor, bool], Tensor]


def ternary(weights: Tensor, by_row: bool) -> Tensor:
    """Return weights as -a, 0 or a (ternary weight networks, Li et al. 2016, arXiv 1605.04711, equations 5 and 6).

    What is within 0.7 of the mean size is 0, a is the mean size of the others; a is a number of float16, as it is kept.

    :param by_row: each row has its own a and 0.7
    """
    size = weights.abs()
    kept = size > 0.7 * _mean(size, torch.ones_like(size), by_row)
    return weights.sign() * kept * _mean(size, kept, by_row).half().float()


def loss_aware_ternary(weights: Tensor, by_row: bool) -> Tensor:
    """Return weights as -a, 0 or a, nearest to them in the least squares sense (TernaryBERT, section 3.1.1, LAT).

    a and the choice of what is 0 follow from each other in turns, ten times, from the start of :func:`ternary`. The
    paper weighs each number by the optimiser's second moment; here, as in BinaryBERT's code, all count the same.
    """
    size = weights.abs()
    scale = _mean(size, size > 0.7 * _mean(size, torch.ones_like(size), by_row), by_row)
    for _ in range(10):
        scale = _mean(size, size > scale / 2, by_row)
    return weights.sign() * (size > scale / 2) * scale.half().float()


def binary(weights: Tensor, by_row: bool) -> Tensor:
    """Return weights as -a or a, a their mean size (XNOR-Net, Rastegari et al. 2016, equation 6)."""
    size = weights.abs()
    scale = _mean(size, torch.ones_like(size), by_row).half().float()
    return torch.where(weights < 0, -scale, scale)


def eight_bits(weights: Tensor, by_row: bool) -> Tensor:  # noqa: ARG001
    """Return weights as ``compact.py`` keeps them in 8 bits, so that they are trained as they will be kept."""
    return expanded(compact({"weights": weights}, "int8"))["weights"]


LEVELS: dict[str, Levels] = {"ternary": ternary, "loss-aware-ternary": loss_aware_ternary, "binary": binary}
"""What the weights of a student may be rounded to, by the name that a recipe gives."""


def _mean(size: Tensor, counted: Tensor, by_row: bool) -> Tensor:
    """Return the mean of what counts, of a row each (rows, 1) or of all (); 0 of nothing."""
    if by_row:
        return (size * counted).sum(1, keepdim=True) / counted.sum(1, keepdim=True).clamp(min=1)
    return (size * counted).sum() / counted.sum().clamp(min=1)


class Rounded(torch.nn.Module):
    """A parametrisation: from the weights that are trained to those that are used.

    :param levels: one of :data:`LEVELS`
    :param by_row: see :func:`ternary`
    """

    def __init__(self, levels: Levels, *, by_row: bool) -> None:
        super().__init__()
        self.levels, self.by_row = levels, by_row

    def forward(self, weights: Tensor) -> Tensor:
        # In this order the sum is the rounded weight to the last bit, and its gradient that of the weight.
        return self.levels(weights, self.by_row).detach() + (weights - weights.detach())


def round_weights(transformer: Any, name: str) -> None:
    """Let a transformer compute with rounded weights: all linear layers, its word embeddings by row, others in 8 bits.

    :param name: one of :data:`LEVELS`
    """
    table = transformer.get_input_embeddings()
    for module in list(transformer.modules()):
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            levels = LEVELS[name] if module is table or isinstance(module, torch.nn.Linear) else eight_bits
            parametrize.register_parametrization(module, "weight", Rounded(levels, by_row=module is table))


def with_rounded_weights(network: Any) -> Any:
    """Return a network whose weights are those that it computes with: itself, where nothing is rounded."""
    if not any(parametrize.is_parametrized(module) for module in network.modules()):
        return network
    plain = copy.deepcopy(network)
    for module in list(plain.modules()):
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
    return plain
