"""Running a torch network over token sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from reranker_kd.inference.batching import batches_by_tokens, padded
from reranker_kd.inference.pair_tokenizer import TokenSequence
from reranker_kd.inference.precision import resolve_precision
from reranker_kd.types import FloatArray

DEFAULT_BATCH_TOKENS = 4096
"""Tokens of a batch, padding included: large enough to fill the cores, small enough to stay in the caches."""


class ScoringNetwork(Protocol):
    """What the runner asks of a network, beside being a ``torch.nn.Module``."""

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run in ``dtype`` what may be, the scores' own arithmetic excepted."""

    def to(self, device: torch.device) -> Any:
        """Move to a device; returns the network."""


class TorchRunner:
    """Feeds token sequences to a network in batches of like length.

    :param network: called with ``input_ids``, ``attention_mask`` and, where ``with_types``, ``token_type_ids``,
        each (n, tokens); returns float (n, d)
    :param pad_id: the token that fills shorter rows
    :param with_types: whether the network takes ``token_type_ids``
    :param batch_tokens: tokens of a batch, padding included
    :param device: a torch device; None takes a CUDA GPU where there is one, else the CPU
    :param precision: ``float32``, ``bfloat16`` or ``auto`` (see :func:`resolve_precision`)
    """

    def __init__(
        self,
        network: ScoringNetwork,
        *,
        pad_id: int,
        with_types: bool,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        device: str | None = None,
        precision: str = "float32",
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.precision = resolve_precision(precision, self.device)
        if self.precision != torch.float32:
            network.lower_precision(self.precision)
        self._network = network.to(self.device).eval()
        self._pad_id = pad_id
        self._with_types = with_types
        self._batch_tokens = batch_tokens

    def run(
        self, sequences: Sequence[TokenSequence], on_progress: Callable[[int], None] = lambda _: None
    ) -> FloatArray:
        """Return the network's outputs in the order of the sequences, float32 of shape (n, d).

        :param on_progress: called with the number of sequences finished since the last call
        """
        if not sequences:
            return np.zeros((0, 1), dtype=np.float32)
        outputs: FloatArray | None = None
        for batch in batches_by_tokens([len(sequence) for sequence in sequences], self._batch_tokens):
            arrays = padded([sequences[i] for i in batch], self._pad_id)
            if not self._with_types:
                del arrays["token_type_ids"]
            inputs = {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}
            with torch.inference_mode():
                rows = self._network(**inputs).float().cpu().numpy()
            if outputs is None:
                outputs = np.empty((len(sequences), rows.shape[1]), dtype=np.float32)
            outputs[batch] = rows
            on_progress(len(batch))
        assert outputs is not None
        return outputs
