"""A teacher's scores, computed once, kept on disk, shared by all students; a killed scoring goes on where it was.

A scorer has a folder of its own, named by the hash of what identifies it, which lies there in ``scorer.json``. Scores
come in parts that are written once and never changed: arrays sorted by the 128-bit hash of (query, document). A pair
that stands in several parts has the score of the first, so that a score, once given, stays.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker_kd.errors import InputError, ModelError, OutputError
from reranker_kd.formats.files import atomic_writer, save_array
from reranker_kd.rerank.base import Pair, Progress, Reranker, no_progress
from reranker_kd.types import FloatArray

Keys = npt.NDArray[np.bytes_]
"""Hashes of pairs, (n,) of 16 bytes each: all as long, so that numpy's neglect of closing zeros confuses none."""

BLOCK = 2048
"""Pairs that are scored and saved at once: enough to find others of like length, few enough to lose little."""

_ENTRY = np.dtype([("key", "S16"), ("score", "<f4")])


def pair_keys(pairs: Sequence[Pair]) -> Keys:
    """Return the 128-bit BLAKE2b hash of each (query text, document text), shape (n,)."""
    digests = bytearray()
    for query, text in pairs:
        # Lone surrogates, which JSON may hold, have no UTF-8 otherwise.
        encoded = query.encode("utf-8", "surrogatepass")
        # The length in front keeps apart pairs whose texts differ only in where they are parted.
        digest = hashlib.blake2b(len(encoded).to_bytes(8, "little") + encoded, digest_size=16)
        digest.update(text.encode("utf-8", "surrogatepass"))
        digests += digest.digest()
    return np.frombuffer(bytes(digests), dtype="S16")


class ScoreCache:
    """The scores of one scorer. Several processes may read and add at once.

    :param folder: of all scorers' caches
    :param key: what identifies the scorer, as JSON values, such as :meth:`Reranker.describe` gives
    :raises InputError: a part of the cache is broken
    :raises OutputError: the folder cannot be written
    """

    def __init__(self, folder: str | Path, key: Mapping[str, Any]) -> None:
        identity = json.dumps(key, sort_keys=True, ensure_ascii=False)
        self.folder = Path(folder) / hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._runs: list[npt.NDArray[np.void]] = []
        self._read: set[str] = set()
        described = self.folder / "scorer.json"
        if not described.is_file():
            with atomic_writer(described) as stream:
                json.dump(key, stream, indent=2, sort_keys=True, ensure_ascii=False)
                stream.write("\n")
        self.refresh()

    def lookup(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the score of each (query text, document text), float32 (n,), NaN for those that are not known."""
        return self.find(pair_keys(pairs))

    def add(self, pairs: Sequence[Pair], scores: npt.ArrayLike) -> None:
        """Save the scores of pairs, shape (n,), as a part of its own. Pairs that are known keep the score they have.

        :raises InputError: other than one finite score for each pair
        :raises OutputError: the disk is full
        """
        self.store(pair_keys(pairs), scores)

    def find(self, keys: Keys) -> FloatArray:
        """Return the score of each key, as :meth:`lookup` does."""
        scores = np.full(len(keys), np.nan, dtype=np.float32)
        # The first part that has a pair goes last, and stands.
        for run in reversed(self._runs):
            places = np.minimum(np.searchsorted(run["key"], keys), len(run) - 1)
            found = run["key"][places] == keys
            scores[found] = run["score"][places[found]]
        return scores

    def store(self, keys: Keys, scores: npt.ArrayLike) -> None:
        """Save scores by key, as :meth:`add` does."""
        singles = np.asarray(scores, dtype=np.float32)
        if singles.shape != keys.shape:
            raise InputError(f"scores of shape {singles.shape} for {len(keys)} pairs: give one of each pair")
        if not np.isfinite(singles).all():
            raise InputError(f"score {int(np.isfinite(singles).argmin())} of {len(keys)} is not finite: leave it out")
        if not len(keys):
            return
        entries = np.empty(len(keys), dtype=_ENTRY)
        entries["key"], entries["score"] = keys, singles
        with self._locked():
            # Numbers go up, so that parts written side by side have one order for everybody.
            self.refresh()
            number = 1 + max((_number(name) for name in self._read), default=0)
            save_array(self.folder / f"part-{number:08d}.npy", _sorted(entries))
            self.refresh()

    def refresh(self) -> None:
        """Read the parts that were written since the last time, by this process or another.

        :raises InputError: a part is broken
        """
        paths = {path.name: path for path in self.folder.glob("part-*.npy")}
        for name in sorted(paths.keys() - self._read, key=_number):
            self._runs.append(_read_part(paths[name]))
            self._read.add(name)
            # Runs of like length become one: each entry is moved but log n times, and a lookup meets log n runs.
            while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
                last = self._runs.pop()
                self._runs[-1] = _sorted(np.concatenate([self._runs[-1], last]))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait until no other process is within such a block over the same scorer."""
        try:
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot write: {error.strerror or error}") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def cached_scores(
    reranker: Reranker,
    pairs: Sequence[Pair],
    cache: ScoreCache,
    *,
    block: int = BLOCK,
    on_progress: Progress = no_progress,
) -> FloatArray:
    """Return the scores of pairs, float32 (n,): those that the cache lacks are computed, each distinct pair once.

    What is missing is scored in blocks of ``block`` pairs, in the order of the list, and each block is saved as a whole
    when it is done. The last bits of a score depend on what it shares a batch with; since what is still missing after
    an interruption begins where a block would have begun, it falls into the same blocks. So, killed and begun again
    however often, on the same machine it gives the same bytes.

    :param pairs: (query text, document text)
    :param block: pairs scored and saved at once
    :param on_progress: called with the number of pairs done since the last call, ``len(pairs)`` in all
    :raises InputError: a part of the cache is broken
    :raises ModelError: the reranker gives a score that is not finite
    :raises OutputError: the disk is full
    """
    keys = pair_keys(pairs)
    cache.refresh()
    _, first = np.unique(keys, return_index=True)
    first.sort()
    missing = first[np.isnan(cache.find(keys[first]))]
    on_progress(len(pairs) - len(missing))
    for start in range(0, len(missing), block):
        places = missing[start : start + block]
        cache.refresh()
        # Another process may have scored the same block meanwhile.
        if np.isnan(cache.find(keys[places])).any():
            cache.store(keys[places], _score(reranker, [pairs[i] for i in places], on_progress))
        else:
            on_progress(len(places))
    return cache.find(keys)


def _score(reranker: Reranker, pairs: Sequence[Pair], on_progress: Progress) -> FloatArray:
    scores = np.asarray(reranker.score_documents(pairs, on_progress).scores, dtype=np.float32)
    if scores.shape != (len(pairs),) or not np.isfinite(scores).all():
        raise ModelError(f"{type(reranker).__name__}: gave other than one finite score for each of {len(pairs)} pairs")
    return scores


def _read_part(path: Path) -> npt.NDArray[np.void]:
    try:
        part = np.load(path, allow_pickle=False)
        if part.dtype != _ENTRY or part.ndim != 1 or not len(part) or not np.isfinite(part["score"]).all():
            raise ValueError("expected keys and finite scores")
        if (part["key"][1:] < part["key"][:-1]).any():
            raise ValueError("its keys are out of order")
    except (OSError, ValueError, EOFError) as error:
        said = " ".join(str(error).split())
        raise InputError(
            f"{path}: broken part of a score cache ({said}): remove it, and its scores are made anew"
        ) from None
    return part


def _sorted(entries: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    # Stable: of equal keys the first stays the first, and is the one that a search finds.
    return entries[np.argsort(entries["key"], kind="stable")]


def _number(name: str) -> int:
    digits = name.removeprefix("part-").removesuffix(".npy")
    return int(digits) if digits.isdecimal() else 0
