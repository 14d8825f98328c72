"""What a network costs whoever runs it: parameters, and tokens and operations for a set of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from reranker_kd.inference.options import REFERENCE
from reranker_kd.models.exported import read_export
from reranker_kd.models.kinds import kind_of
from reranker_kd.rerank.base import Pair
from reranker_kd.rerank.registry import load_reranker

_PROBES = (8, 16, 24)
"""Input lengths at which operations are counted: they are a quadratic of the length, so three say all."""


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """What a set of pairs costs; None is what is not known.

    :param tokens: tokens that go through the network, special tokens included, padding not; of one that reads texts
        those of the distinct texts
    :param operations: floating-point multiplications and additions of the matrix products behind them; None of an
        exported model, whose network torch does not know
    :param parameters: numbers in the weights, shared ones once; None likewise
    """

    tokens: int | None = None
    operations: float | None = None
    parameters: int | None = None


def network_cost(folder: Path, pairs: Sequence[Pair], max_length: int) -> NetworkCost:
    """Return what scoring these pairs costs by the model of a folder.

    :param max_length: tokens of an input, special tokens included
    :raises ModelError: the model cannot be loaded
    """
    kind, export = kind_of(folder), read_export(folder)
    reranker: Any = load_reranker(folder, max_length=max_length, **({} if export else REFERENCE))
    network: Any = None if export else kind.load(folder)
    sides: dict[str, Any] = {"network": network}
    if export:
        sides = dict(export.networks)
    elif kind.reads == "texts":
        sides = {"query": network.query_tower, "document": network.document_tower}
    inputs = reranker.sequences(pairs)
    # A tower for both has the inputs of both on the first side.
    lengths: dict[Any, Any] = {tower: np.array([*map(len, inputs[side])]) for side, tower in reversed(sides.items())}
    tokens = sum(int(of_tower.sum()) for of_tower in lengths.values())
    if export:
        return NetworkCost(tokens)
    with_types = reranker.tokenizer.has_types
    operations = sum(_operations(tower, of_tower, with_types=with_types) for tower, of_tower in lengths.items())
    return NetworkCost(tokens, operations, sum(parameter.numel() for parameter in network.parameters()))


def folder_bytes(folder: Path) -> int:
    """Return the bytes of a model's files: its card, the report of its distillation and hidden files do not count."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md"]
    parts = [(path, path.relative_to(folder).parts) for path in files]
    return sum(p.stat().st_size for p, names in parts if names[0] != "report" and not names[-1].startswith("."))


def _operations(network: torch.nn.Module, lengths: Any, *, with_types: bool) -> float:
    counted = [_operations_of_one(network, length, with_types=with_types) for length in _PROBES]
    # A polynomial of degree 2 through three points.
    return float(np.polyval(np.polyfit(_PROBES, counted, 2), lengths).sum())


def _operations_of_one(network: torch.nn.Module, length: int, *, with_types: bool) -> int:
    ids = torch.zeros((1, length), dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": ids + 1}
    if with_types:
        inputs["token_type_ids"] = (torch.arange(length) >= length // 2).long()[None]
    uncounted = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        torch.ops.aten.mkldnn_rnn_layer: _lstm,
    }
    with FlopCounterMode(display=False, custom_mapping=uncounted) as counter, torch.inference_mode():
        network(**inputs)
    return int(counter.get_total_flops())


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    # Scores and their weighted sum: a product of (rows, width) by (width, rows) each.
    return 2 * prod(query) * key[-2] + 2 * prod(query[:-1]) * key[-2] * value[-1]


def _lstm(states: torch.Size, inputs: torch.Size, hidden: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * prod(states[:-1]) * (prod(inputs) + prod(hidden))
