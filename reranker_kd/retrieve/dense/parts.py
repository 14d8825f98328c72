"""Embeddings on their way: parts of a collection, each saved whole, so that a killed encoding goes on from the last.

The parts lie in a hidden folder of the output. A part is named by its place in the collection, so that several
processes or machines can make different ones, and holds the same bytes whoever makes it.
"""

from __future__ import annotations

import fcntl
import json
import math
import shutil
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import numpy as np

from reranker_kd.errors import InputError
from reranker_kd.formats.files import atomic_writer, save_array
from reranker_kd.types import FloatArray

PARTS = ".parts"
"""The hidden folder, beneath the folder that the embeddings will fill."""


class VectorParts(Sequence[FloatArray]):
    """Arrays (n, d) that are read when they are asked for, so that no two of them need be in memory."""

    @abstractmethod
    def read(self, number: int) -> FloatArray:
        """Return the part of a number from 0 to ``len(self) - 1``."""

    @overload
    def __getitem__(self, number: int) -> FloatArray: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[FloatArray]: ...

    def __getitem__(self, number: int | slice) -> FloatArray | Sequence[FloatArray]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self.read(number)


class EmbeddingParts(VectorParts):
    """The parts of one encoding; as a sequence, the vectors of each part, read when asked for.

    :param output: the folder that the embeddings will fill
    :param request: what is encoded and how, as JSON values; parts of another request are not mixed in
    :param count: parts of the whole collection
    :param overwrite: remove parts of another request
    :raises InputError: the folder holds parts of another request
    :raises OutputError: it cannot be written
    """

    def __init__(self, output: Path, request: dict[str, Any], count: int, *, overwrite: bool = False) -> None:
        self.folder = output / PARTS
        self._count = count
        manifest = self.folder / "request.json"
        if manifest.is_file():
            difference = _difference(manifest, request)
            if difference and not overwrite:
                raise InputError(f"{self.folder}: {difference}: name another --output, or --overwrite")
            if difference:
                self.remove()
        if not manifest.is_file():
            with atomic_writer(manifest) as stream:
                json.dump(request, stream, indent=2)

    def has(self, number: int) -> bool:
        """Whether a part is finished."""
        return self._vectors(number).is_file()

    @property
    def missing(self) -> list[int]:
        """The numbers of the parts that are not finished."""
        return [number for number in range(len(self)) if not self.has(number)]

    def save(self, number: int, docids: Sequence[str], vectors: FloatArray, seconds: float) -> None:
        """Save a part: its docids, its vectors (n, d), and how long they took.

        :raises OutputError: the disk is full
        """
        with atomic_writer(self._seconds(number)) as stream:
            stream.write(f"{seconds:.3f}\n")
        with atomic_writer(self._docids(number)) as stream:
            stream.writelines(f"{docid}\n" for docid in docids)
        # The vectors come last: where they are, the part is whole.
        save_array(self._vectors(number), vectors)

    def docids(self) -> Iterator[str]:
        """Yield the docids of all parts."""
        for number in range(len(self)):
            yield from self._docids(number).read_text(encoding="utf-8").splitlines()

    def seconds(self) -> float:
        """Return how long all parts took together, whoever made them."""
        return math.fsum(float(self._seconds(number).read_text(encoding="utf-8")) for number in range(len(self)))

    def remove(self) -> None:
        """Remove the hidden folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process is within such a block over the same parts."""
        if not self.folder.is_dir():
            # Whoever finished the work removed it, and there is nothing left to wait for.
            yield
            return
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def __len__(self) -> int:
        return self._count

    def read(self, number: int) -> FloatArray:
        """Return the vectors of a finished part."""
        path = self._vectors(number)
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: cannot be read: {error}; remove it and encode again") from None

    def _vectors(self, number: int) -> Path:
        return vectors_file(self.folder, number)

    def _docids(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.docid"

    def _seconds(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.seconds"


def vectors_file(folder: Path, number: int) -> Path:
    """Return where the vectors of a part lie; the file is there when the part is finished."""
    return folder / f"part-{number:06d}.npy"


def _difference(manifest: Path, request: dict[str, Any]) -> str | None:
    try:
        begun = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"{manifest.name} cannot be read ({error})"
    for key in sorted({*begun, *request}):
        if begun.get(key) != request.get(key):
            return f"an encoding with {key} {begun.get(key)!r} was begun here, now it is {request.get(key)!r}"
    return None
