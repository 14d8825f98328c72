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


def eight_bits(weights: Tensor, by_row: bool) -> Tensor:  # noqa: ARG001
    """Return weights as ``compact.py`` keeps them in 8 bits, so that they are trained as they will be kept."""
    return expanded(compact({"weights": weights}, "int8"))["weights"]


LEVELS: dict[str, Levels] = {"ternary": ternary, "loss-aware-ternary": loss_aware_ternary}
"""What weights may be rounded to, by the name that a recipe gives; ``binary`` is :class:`Halves`."""


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


class Halves(torch.nn.Module):
    """A parametrisation: the sum of two binary matrices (BinaryBERT, Bai et al. 2020, arXiv 2012.15701, section 3.2).

    Each is its mean size times its signs; their sum has four levels, numbers of float16, as they are kept. Ternary
    weights are split into halves whose sum they are: from there a student of binary weights learns on.

    :param by_row: each row has its own sizes
    """

    def __init__(self, *, by_row: bool) -> None:
        super().__init__()
        self.by_row = by_row

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        one, other = (_mean(half.abs(), torch.ones_like(half), self.by_row) for half in (first, second))
        negative = first < 0
        size = torch.where(negative == (second < 0), (one + other).half().float(), (one - other).half().float())
        return torch.where(negative, -size, size).detach() + (first - first.detach()) + (second - second.detach())

    def right_inverse(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the halves of ternary weights (section 3.2.2); of others those of their signs."""
        level = _mean(weights.abs(), weights != 0, self.by_row) / 2
        zero = weights == 0
        return torch.where(zero, level, weights / 2), torch.where(zero, -level, weights / 2)


def round_weights(transformer: Any, name: str) -> None:
    """Let a transformer compute with rounded weights: all linear layers, its word embeddings by row, others in 8 bits.

    :param name: one of :data:`LEVELS`, or ``binary``
    """
    table = transformer.get_input_embeddings()
    for module in list(transformer.modules()):
        if not isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            continue
        rounding: torch.nn.Module = Rounded(eight_bits, by_row=False)
        if module is table or isinstance(module, torch.nn.Linear):
            by_row = module is table
            rounding = Halves(by_row=by_row) if name == "binary" else Rounded(LEVELS[name], by_row=by_row)
        parametrize.register_parametrization(module, "weight", rounding)


def with_rounded_weights(network: Any) -> Any:
    """Return a network whose weights are those that it computes with: itself, where nothing is rounded."""
    if not any(parametrize.is_parametrized(module) for module in network.modules()):
        return network
    plain = copy.deepcopy(network)
    for module in list(plain.modules()):
        if parametrize.is_parametrized(module):
            rounded = module.weight.detach().clone()
            # Not by torch's remove_parametrizations: it changes the class, which the network that learns on shares.
            module.__class__ = type(module).__bases__[0]
            del module.parametrizations
            module.weight = torch.nn.Parameter(rounded)
    return plain
