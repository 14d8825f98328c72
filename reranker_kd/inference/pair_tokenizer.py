"""From texts to token ids: each distinct text once, then pairs put together as the model's tokenizer would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker_kd.errors import ModelError
from reranker_kd.models.settings import Framing

TokenIds = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens that a tokenizer puts around one text or a pair, with their token types.

    :param specials: before, between and after the texts
    :param types: the token type of each part, special tokens and texts in turn: no tokenizer changes it within a part
    """

    specials: tuple[tuple[int, ...], ...]
    types: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of special tokens."""
        return sum(map(len, self.specials))

    def around(self, *texts: TokenIds) -> TokenSequence:
        """Return the texts with the special tokens around them."""
        first, *others = (np.asarray(ids, dtype=np.int32) for ids in self.specials)
        parts = [first, *chain.from_iterable(zip(texts, others, strict=True))]
        types = np.repeat(np.asarray(self.types, dtype=np.int32), [len(part) for part in parts])
        return TokenSequence(np.concatenate(parts), types)


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
        self.single_frame = self._probe("winter")
        self.pair_frame = self._frame_of_pairs()

    @property
    def vocabulary_hash(self) -> str:
        """What identifies the vocabulary."""
        return hashlib.sha256(json.dumps(self._tokenizer.get_vocab(), sort_keys=True).encode()).hexdigest()

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
        return self.single_frame.around(ids)

    def pair(self, first: TokenIds, second: TokenIds) -> TokenSequence:
        """Frame a pair of texts."""
        return self.pair_frame.around(first, second)

    def _frame_of_pairs(self) -> Frame:
        frame = self._probe("winter", "summer")
        texts = ("the sea", "and the land")
        expected = list(self._tokenizer(*texts, return_token_type_ids=False)["input_ids"])
        if frame.around(*self.encode(texts)).ids.tolist() != expected:
            raise ModelError(f"{self._tokenizer.name_or_path}: its tokenizer does not treat the texts of a pair apart")
        return frame

    def _probe(self, *texts: str) -> Frame:
        whole = self._tokenizer(*texts, return_token_type_ids=True, truncation=False)
        # A tokenizer without token types reports zeros.
        ids, types = list(whole["input_ids"]), list(whole["token_type_ids"])
        specials, kinds = [], []
        end = 0
        for part in self.encode(texts):
            start = _position(ids, part.tolist(), end)
            if start < 0:
                raise ModelError(f"{self._tokenizer.name_or_path}: its tokenizer changes texts when it frames them")
            specials.append(tuple(ids[end:start]))
            kinds += [int(types[max(start - 1, 0)]), int(types[start])]
            end = start + len(part)
        return Frame((*specials, tuple(ids[end:])), (*kinds, int(types[-1])))


class EachFramedTokenizer(PairTokenizer):
    """Joins the framed query and the framed document, for networks that began as a bi-encoder.

    Token types 0 and 1 mark the two.
    """

    def _frame_of_pairs(self) -> Frame:
        self.has_types = True
        before, after = self.single_frame.specials
        return Frame((before, after, before, after), (0, 0, 0, 0, 1, 1, 1))

    def pair(self, first: TokenIds, second: TokenIds) -> TokenSequence:
        """Frame a pair of texts."""
        nothing = second[:0]
        return self.pair_frame.around(first, nothing, second)


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


def _position(ids: list[int], wanted: list[int], start: int) -> int:
    places = range(start, len(ids) - len(wanted) + 1)
    return next((place for place in places if ids[place : place + len(wanted)] == wanted), -1)
