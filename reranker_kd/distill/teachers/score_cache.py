"""A teacher's scores, computed once, kept on disk, shared by all students; a killed scoring goes on where it was.

A scorer has a folder of its own, named by the hash of what identifies it, which lies there in ``scorer.json``. Beside
it is a database of scores by the 128-bit hash of (query, document). A score, once given, stays.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b, sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.errors import InputError, ModelError, OutputError
from reranker_kd.formats.files import atomic_writer
from reranker_kd.rerank.base import Pair, Progress, Reranker, no_progress
from reranker_kd.types import FloatArray

BLOCK = 2048
"""Pairs that are scored and saved at once: enough to find others of like length, few enough to lose little."""

_KEYS_A_QUERY = 30_000
_SECONDS_TO_WAIT = 600.0


def pair_keys(pairs: Iterable[Pair]) -> list[bytes]:
    """Return the 128-bit BLAKE2b hash of each (query text, document text)."""
    # Lone surrogates, which JSON may hold, have no UTF-8 otherwise.
    encoded = ([side.encode("utf-8", "surrogatepass") for side in pair] for pair in pairs)
    # The length in front keeps apart pairs whose texts differ only in where they are parted.
    return [
        blake2b(len(query).to_bytes(8, "little") + query + text, digest_size=16).digest() for query, text in encoded
    ]


class ScoreCache:
    """The scores of one scorer. Several processes may read and add at once.

    :param folder: of all scorers' caches
    :param key: what identifies the scorer, as JSON values, such as :meth:`Reranker.describe` gives
    :raises InputError: the database is broken
    :raises OutputError: the folder cannot be written
    """

    def __init__(self, folder: str | Path, key: Mapping[str, Any]) -> None:
        identity = json.dumps(key, sort_keys=True, ensure_ascii=False)
        self.folder = Path(folder) / sha256(identity.encode()).hexdigest()[:16]
        described = self.folder / "scorer.json"
        if not described.is_file():
            with atomic_writer(described) as stream:
                json.dump(key, stream, indent=2, sort_keys=True, ensure_ascii=False)
                stream.write("\n")
        with self._database() as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, score REAL NOT NULL) WITHOUT ROWID"
            )

    def find(self, keys: Iterable[bytes]) -> dict[bytes, float]:
        """Return the scores of those of the keys that are known."""
        found: dict[bytes, float] = {}
        remaining = iter(keys)
        with self._database() as database:
            while some := list(islice(remaining, _KEYS_A_QUERY)):
                marks = ", ".join("?" * len(some))
                found.update(database.execute(f"SELECT key, score FROM scores WHERE key IN ({marks})", some).fetchall())
        return found

    def store(self, keys: Sequence[bytes], scores: Sequence[float]) -> None:
        """Save the score of each key, all or none of them. Those that are known keep the score they have.

        :raises OutputError: the disk is full
        """
        with self._database() as database:
            database.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?)", zip(keys, scores, strict=True))

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        path = self.folder / "scores.sqlite3"
        try:
            with closing(sqlite3.connect(path, timeout=_SECONDS_TO_WAIT)) as database:
                # What a power failure loses is scored again; a kill loses nothing.
                database.execute("PRAGMA synchronous = NORMAL")
                with database:
                    yield database
        except sqlite3.OperationalError as error:
            raise OutputError(f"{path}: cannot keep scores: {error}; free the disk, or name another --cache") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: broken score cache ({error}): remove it, and its scores are made anew") from None


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
    :raises InputError: the cache is broken
    :raises ModelError: the reranker gives a score that is not finite
    :raises OutputError: the disk is full
    """
    keys = pair_keys(pairs)
    distinct = dict(zip(keys, pairs, strict=True))
    known = cache.find(distinct)
    missing = [key for key in distinct if key not in known]
    on_progress(len(pairs) - len(missing))
    for start in range(0, len(missing), block):
        wanted = missing[start : start + block]
        # Another process may have scored the same block meanwhile.
        if len(cache.find(wanted)) == len(wanted):
            on_progress(len(wanted))
        else:
            cache.store(wanted, _score(reranker, [distinct[key] for key in wanted], on_progress).tolist())
        known |= cache.find(wanted)
    return np.fromiter((known[key] for key in keys), dtype=np.float32, count=len(keys))


def _score(reranker: Reranker, pairs: Sequence[Pair], on_progress: Progress) -> FloatArray:
    scores = np.asarray(reranker.score_documents(pairs, on_progress).scores, dtype=np.float32)
    if scores.shape != (len(pairs),) or not np.isfinite(scores).all():
        raise ModelError(f"{type(reranker).__name__}: gave other than one finite score for each of {len(pairs)} pairs")
    return scores
