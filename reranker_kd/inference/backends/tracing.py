"""A torch network as converters want it: arguments by position, an example of its inputs, no chatter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from reranker_kd.models.network import Network

_ROWS, _TOKENS = 3, 24


class _ByPosition(torch.nn.Module):
    def __init__(self, network: Any, names: list[str]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *arrays: torch.Tensor) -> torch.Tensor:
        return self.network(**dict(zip(self.names, arrays, strict=True)))


class _ThreeInputs(_ByPosition):
    # Converters read the names of the inputs off the signature.
    def forward(  # type: ignore[override]
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        return super().forward(input_ids, attention_mask, token_type_ids)


class _TwoInputs(_ByPosition):
    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(input_ids, attention_mask)


def traceable(network: Network, *, with_types: bool) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Return a network that takes its inputs by position, and an example of them.

    The example holds rows of several lengths, so that no part of the network takes padding for absent.
    """
    ids = torch.ones((_ROWS, _TOKENS), dtype=torch.long)
    lengths = torch.tensor([[_TOKENS], [_TOKENS // 2], [_TOKENS // 3]])
    places = torch.arange(_TOKENS)[None]
    example = {"input_ids": ids, "attention_mask": (places < lengths).long()}
    if with_types:
        example["token_type_ids"] = ((places >= lengths // 2) & (places < lengths)).long()
    names = list(example)
    plain = network.to(torch.device("cpu")).eval()
    module = (_ThreeInputs if with_types else _TwoInputs)(plain, names).eval()
    return module, example


@contextmanager
def quiet_tracing() -> Iterator[None]:
    """Keep what converters say of constants in the trace off the terminal: the shapes are tested to be dynamic."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
