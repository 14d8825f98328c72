"""The tokens of many texts in one array, on disk where a folder is given: made once, read as they are wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reranker_kd.formats.files import atomic_binary_writer
from reranker_kd.inference.pair_tokenizer import PairTokenizer, TokenIds

_TEXTS_A_CALL = 1000


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The token ids of n texts, without special tokens.

    :param ids: of one text after the other
    :param ends: where each text ends, (n,)
    """

    ids: TokenIds
    ends: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> TokenIds:
        return np.asarray(self.ids[self.ends[row - 1] if row else 0 : self.ends[row]])


def token_table(texts: Sequence[str], tokenizer: PairTokenizer, folder: Path | None = None) -> TokenTable:
    """Return the tokens of each text, a thousand texts at a time: a tokenizer's own results take much memory.

    :param folder: where the table is kept, and found again for the same texts and tokenizer; None keeps it in memory
    """
    if folder is None:
        parts = list(_encoded(texts, tokenizer))
        ids = np.concatenate([np.zeros(0, np.int32), *(part for part, _ in parts)])
        return TokenTable(ids, _ends(lengths for _, lengths in parts))
    name = _digest(texts, tokenizer)
    path, ends = folder / f"{name}.ids", folder / f"{name}.ends.npy"
    if not ends.is_file():
        lengths = []
        with atomic_binary_writer(path) as stream:
            for part, part_lengths in _encoded(texts, tokenizer):
                stream.write(part.tobytes())
                lengths.append(part_lengths)
        # Written last: where it is, the ids are whole.
        with atomic_binary_writer(ends) as stream:
            np.save(stream, _ends(lengths))
    kept = np.load(ends, allow_pickle=False)
    # An empty file cannot be mapped.
    ids = np.memmap(path, np.int32, "r") if path.stat().st_size else np.zeros(0, np.int32)
    return TokenTable(ids, kept)


def _encoded(texts: Sequence[str], tokenizer: PairTokenizer) -> Iterator[tuple[TokenIds, npt.NDArray[np.int64]]]:
    for start in range(0, len(texts), _TEXTS_A_CALL):
        parts = tokenizer.encode(texts[start : start + _TEXTS_A_CALL])
        yield np.concatenate(parts), np.array([len(ids) for ids in parts])


def _ends(lengths: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.int64), *lengths]).cumsum()


def _digest(texts: Sequence[str], tokenizer: PairTokenizer) -> str:
    digest = hashlib.sha256(tokenizer.vocabulary_hash.encode())
    for text in texts:
        digest.update(f"{len(text)} {text}".encode())
    return digest.hexdigest()[:32]
