"""From texts to token ids: each distinct text once, then pairs put together as the model's tokenizer would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker_kd.errors import ModelError
from reranker_kd.models.settings import Framing

TokenIds = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens that a tokenizer puts around one text or a pair, with their token types.

    ``before`` text one, ``between`` the two, ``after`` the last; ``types`` in the order before, first text,
    between, second text, after (each one token type, since no tokenizer changes it within a part).
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int, int, int, int]

    @property
    def size(self) -> int:
        """Number of special tokens."""
        return len(self.before) + len(self.between) + len(self.after)


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """Input of a network for one text or pair: ids and token types, both of shape (tokens,)."""

    ids: TokenIds
    types: TokenIds

    def __len__(self) -> int:
        return len(self.ids)


class PairTokenizer:
    """Tokenises texts apart and frames them, alone or as pairs, as the wrapped tokenizer does with both at once.

    That is so for every tokenizer that splits the two texts of a pair independently; it is checked on a probe
    when the object is made.

    :param tokenizer: a ``transformers`` tokenizer
    :raises ModelError: the tokenizer treats a pair in a way that cannot be put together from its parts
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0)
        self.has_types = "token_type_ids" in tokenizer.model_input_names
        self.single_frame = self._probe("winter", None)
        self.pair_frame = self._probe("winter", "summer")
        self._check_pairs()

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the token ids of each text, without special tokens and uncut; each of shape (tokens,)."""
        if not texts:
            return []
        encoded = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return [np.asarray(ids, dtype=np.int32) for ids in encoded["input_ids"]]

    def single(self, ids: TokenIds) -> TokenSequence:
        """Frame one text."""
        frame = self.single_frame
        return _joined([frame.before, ids, frame.after], [frame.types[0], frame.types[1], frame.types[4]])

    def pair(self, first: TokenIds, second: TokenIds) -> TokenSequence:
        """Frame a pair of texts."""
        frame = self.pair_frame
        return _joined([frame.before, first, frame.between, second, frame.after], frame.types)

    def _check_pairs(self) -> None:
        texts = ("the sea", "and the land")
        expected = list(self._tokenizer(*texts, return_token_type_ids=False)["input_ids"])
        if self.pair(*self.encode(texts)).ids.tolist() != expected:
            raise ModelError(f"{self._tokenizer.name_or_path}: its tokenizer does not treat the texts of a pair apart")

    def _probe(self, first: str, second: str | None) -> Frame:
        whole = self._tokenizer(first, second, return_token_type_ids=True, truncation=False)
        ids, types = list(whole["input_ids"]), list(whole["token_type_ids"])
        # A tokenizer without token types reports zeros.
        parts = self.encode([first] if second is None else [first, second])
        start = _position(ids, parts[0].tolist(), 0)
        end = start + len(parts[0])
        second_start = _position(ids, parts[1].tolist(), end) if second is not None else end
        second_end = second_start + (len(parts[1]) if second is not None else 0)
        if start < 0 or second_start < 0:
            raise ModelError(f"{self._tokenizer.name_or_path}: its tokenizer changes texts when it frames them")

        def type_at(position: int) -> int:
            return int(types[position]) if 0 <= position < len(types) else 0

        return Frame(
            before=tuple(ids[:start]),
            between=tuple(ids[end:second_start]),
            after=tuple(ids[second_end:]),
            types=(type_at(0), type_at(start), type_at(end), type_at(second_start), type_at(len(types) - 1)),
        )


class EachFramedTokenizer(PairTokenizer):
    """Joins the framed query and the framed document, for networks that began as a bi-encoder.

    Token types 0 and 1 mark the two.
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        self.has_types = True
        single = self.single_frame
        self.pair_frame = replace(self.pair_frame, before=single.before, between=single.after + single.before)

    def _check_pairs(self) -> None:
        # Pairs are framed here, and not as the tokenizer would.
        pass

    def pair(self, first: TokenIds, second: TokenIds) -> TokenSequence:
        """Frame a pair of texts."""
        query, document = self.single(first), self.single(second)
        types = np.repeat(np.array([0, 1], dtype=np.int32), [len(query), len(document)])
        return TokenSequence(np.concatenate([query.ids, document.ids]), types)


FRAMINGS: dict[Framing, type[PairTokenizer]] = {"pair": PairTokenizer, "each": EachFramedTokenizer}
"""How a kind of model has its pairs framed."""


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Return the lengths to which two texts are cut so that together they take at most ``room`` tokens.

    The longer one is cut first; where both are longer than half of the room, they share it, the odd token going
    to the second. This is the rule ``longest_first`` of the ``tokenizers`` library.

    :param first: tokens of the first text
    :param second: tokens of the second text
    :param room: tokens that both may take together, without special tokens
    """
    if first + second <= room:
        return first, second
    shorter, longer = sorted((first, second))
    longer = shorter if shorter > room else max(shorter, room - shorter)
    if shorter + longer > room:
        shorter = room // 2
        longer = shorter + room % 2
    return (shorter, longer) if first <= second else (longer, shorter)


def _joined(parts: Sequence[npt.ArrayLike], types: Sequence[int]) -> TokenSequence:
    arrays = [np.asarray(part, dtype=np.int32) for part in parts]
    return TokenSequence(np.concatenate(arrays), np.repeat(np.asarray(types, dtype=np.int32), [*map(len, arrays)]))


def _position(ids: list[int], wanted: list[int], start: int) -> int:
    for position in range(start, len(ids) - len(wanted) + 1):
        if ids[position : position + len(wanted)] == wanted:
            return position
    return -1
