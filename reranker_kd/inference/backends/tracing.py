"""A torch network as converters want it: arguments by position, an example of its inputs, no chatter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from reranker_kd.errors import ModelError
from reranker_kd.models.network import Network

_ROWS, _TOKENS = 3, 24


class _ByPosition(torch.nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    # Converters read the names of the inputs off the signature.
    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        return self.network(input_ids=input_ids, attention_mask=attention_mask, **types)


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
    return _ByPosition(network.to(torch.device("cpu")).eval()).eval(), example


@contextmanager
def converting(converter: str, line: int = 0) -> Iterator[None]:
    """Keep what a converter says off the terminal, such as of constants: the shapes are tested to be dynamic.

    :param line: which of its error's lines says what is wrong
    :raises ModelError: it fails: the network has operations that it does not know
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[line]
        raise ModelError(f"{converter} does not take this network ({reason}): take the backend torch") from error
    finally:
        logging.disable(before)
