"""Which sequences go through the network together: like lengths, and a bounded number of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reranker_kd.inference.pair_tokenizer import TokenSequence


def batches_by_tokens(lengths: Sequence[int], max_tokens: int) -> list[npt.NDArray[np.intp]]:
    """Group sequences by length, longest first, so that a padded batch holds at most ``max_tokens`` tokens.

    The longest go first so that a batch too large for memory shows at the start, not after an hour.

    :param lengths: tokens of each of n sequences
    :param max_tokens: rows times the longest row, padding included; a longer sequence goes alone
    :return: positions into ``lengths``, each exactly once
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches = []
    start = 0
    while start < len(order):
        rows = max(1, max_tokens // max(1, lengths[order[start]]))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def padded(sequences: Sequence[TokenSequence], pad_id: int) -> dict[str, npt.NDArray[np.int64]]:
    """Return ``input_ids``, ``attention_mask`` and ``token_type_ids``, each of shape (n, longest)."""
    shape = (len(sequences), max(len(sequence) for sequence in sequences))
    ids = np.full(shape, pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    types = np.zeros(shape, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence.ids
        mask[row, : len(sequence)] = 1
        types[row, : len(sequence)] = sequence.types
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
