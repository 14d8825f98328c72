"""What a network costs whoever runs it: parameters, and tokens and operations for a set of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.flop_counter import FlopCounterMode

from reranker_kd.inference.pair_tokenizer import FRAMINGS, PairTokenizer, longest_first
from reranker_kd.inference.text_encoder import load_encoder
from reranker_kd.models.exported import SavedTokenizer, read_export
from reranker_kd.models.kinds import kind_of
from reranker_kd.models.loading import load_tokenizer

Pair = tuple[str, str]
Lengths = npt.NDArray[np.int64]

_PROBES = (8, 16, 24)
"""Input lengths at which operations are counted: they are a quadratic of the length, so three say all."""


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """What a set of pairs costs.

    :param tokens: tokens that go through the network, special tokens included, padding not; of one that reads texts
        those
        of the distinct texts
    :param operations: floating-point multiplications and additions of the matrix products behind them; None of an
        exported model, whose network torch does not know
    :param parameters: numbers in the weights, shared ones once; None likewise
    """

    tokens: int
    operations: float | None = None
    parameters: int | None = None


def network_cost(folder: Path, pairs: Sequence[Pair], max_length: int) -> NetworkCost:
    """Return what scoring these pairs costs by the model of a folder.

    :param max_length: tokens of an input, special tokens included
    :raises ModelError: the model cannot be loaded
    """
    kind = kind_of(folder)
    if kind.reads == "texts":
        return _cost_of_text_encoder(folder, pairs, max_length)
    export = read_export(folder)
    tokenizer = FRAMINGS[kind.framing](SavedTokenizer(folder, export) if export else load_tokenizer(folder))
    lengths = _pair_lengths(tokenizer, pairs, max_length)
    tokens = int(lengths.sum())
    if export:
        return NetworkCost(tokens)
    network = kind.load(folder)
    return NetworkCost(tokens, _operations(network, lengths, with_types=tokenizer.has_types), _parameters(network))


def folder_bytes(folder: Path) -> int:
    """Return the bytes of a model's files: its card, the report of its distillation and hidden files do not count."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md"]
    parts = [(path, path.relative_to(folder).parts) for path in files]
    return sum(p.stat().st_size for p, names in parts if names[0] != "report" and not names[-1].startswith("."))


def _cost_of_text_encoder(folder: Path, pairs: Sequence[Pair], max_length: int) -> NetworkCost:
    encoder = load_encoder(folder, max_length=max_length, backend="torch")
    frame = encoder.tokenizer.single_frame.size
    queries = encoder.query_tokens(list(dict.fromkeys(query for query, _ in pairs)))
    texts = encoder.document_tokens(list(dict.fromkeys(text for _, text in pairs)))
    sides = [
        np.array([min(len(ids), room) + frame for ids in tokens], dtype=np.int64)
        for tokens, room in ((queries, encoder.query_room), (texts, encoder.document_room))
    ]
    tokens = sum(int(lengths.sum()) for lengths in sides)
    if read_export(folder):
        return NetworkCost(tokens)
    kind = kind_of(folder)
    network: Any = kind.load(folder)
    towers = (network.query_tower, network.document_tower)
    with_types = encoder.tokenizer.has_types
    operations = sum(_operations(*side, with_types=with_types) for side in zip(towers, sides, strict=True))
    return NetworkCost(tokens, operations, _parameters(network))


def _pair_lengths(tokenizer: PairTokenizer, pairs: Sequence[Pair], max_length: int) -> Lengths:
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    sizes = {text: len(ids) for text, ids in zip(texts, tokenizer.encode(texts), strict=True)}
    room = max_length - tokenizer.pair_frame.size
    kept = [sum(longest_first(sizes[query], sizes[text], room)) for query, text in pairs]
    return np.array(kept, dtype=np.int64) + tokenizer.pair_frame.size


def _parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _operations(network: torch.nn.Module, lengths: Lengths, *, with_types: bool) -> float:
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
