"""Which sequences go through the network together: like lengths, a bounded number of tokens, few distinct shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reranker_kd.inference.pair_tokenizer import TokenSequence

Arrays = dict[str, npt.NDArray[np.int64]]
"""A network's inputs by name, each of shape (n, tokens)."""


def batches_by_tokens(lengths: Sequence[int], max_tokens: int, length_step: int = 1) -> list[npt.NDArray[np.intp]]:
    """Group sequences by length, longest first, so that a padded batch holds at most ``max_tokens`` tokens.

    The longest go first so that a batch too large for memory shows at the start, not after an hour.

    :param lengths: tokens of each of n sequences
    :param max_tokens: rows times the longest row, padding included; a longer sequence goes alone
    :param length_step: the longest row counts as padded to a multiple of this
    :return: positions into ``lengths``, each exactly once
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches = []
    start = 0
    while start < len(order):
        rows = max(1, max_tokens // max(1, rounded_up(lengths[order[start]], length_step)))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def rounded_up(number: int, step: int) -> int:
    """Return the smallest multiple of ``step`` that is not below a number."""
    return -(-number // step) * step


def padded(sequences: Sequence[TokenSequence], pad_id: int, length_step: int = 1, rows: int = 0) -> Arrays:
    """Return ``input_ids``, ``attention_mask`` and ``token_type_ids``, each of shape (n, longest).

    :param length_step: the longest is padded to a multiple of this
    :param rows: the first sequence is repeated behind the others until there are so many
    """
    shape = (max(rows, len(sequences)), rounded_up(max(len(sequence) for sequence in sequences), length_step))
    ids = np.full(shape, pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    types = np.zeros(shape, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence.ids
        mask[row, : len(sequence)] = 1
        types[row, : len(sequence)] = sequence.types
    for array in (ids, mask, types):
        array[len(sequences) :] = array[0]
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
