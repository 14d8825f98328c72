"""Embeddings on their way: parts of a collection, each saved whole, so that a killed encoding goes on from the last.

The parts lie in a hidden folder of the output. A part is named by its place in the collection, so that several
processes or machines can make different ones, and holds the same bytes whoever makes it.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.errors import InputError
from reranker_kd.formats.files import atomic_writer, save_array
from reranker_kd.types import FloatArray

PARTS = ".parts"
"""The hidden folder, beneath the folder that the embeddings will fill."""


class EmbeddingParts:
    """The parts of one encoding.

    :param output: the folder that the embeddings will fill
    :param request: what is encoded and how, as JSON values; parts of another request are not mixed in
    :param count: parts of the whole collection
    :param overwrite: remove parts of another request
    :raises InputError: the folder holds parts of another request
    :raises OutputError: it cannot be written
    """

    def __init__(self, output: Path, request: dict[str, Any], count: int, *, overwrite: bool = False) -> None:
        self.folder = output / PARTS
        self._numbers = range(count)
        manifest = self.folder / "request.json"
        if manifest.is_file() and (difference := _difference(manifest, request)):
            if not overwrite:
                raise InputError(f"{self.folder}: {difference}: name another --output, or --overwrite")
            self.remove()
        if not manifest.is_file():
            with atomic_writer(manifest) as stream:
                json.dump(request, stream, indent=2)

    @property
    def missing(self) -> list[int]:
        """The numbers, from 0, of the parts that are not finished."""
        return [number for number in self._numbers if not self._file(number, "npy").is_file()]

    def save(self, number: int, docids: Sequence[str], vectors: FloatArray, seconds: float) -> None:
        """Save a part: its docids, its vectors (n, d), and how long they took.

        :raises OutputError: the disk is full
        """
        with atomic_writer(self._file(number, "seconds")) as stream:
            stream.write(f"{seconds:.3f}\n")
        with atomic_writer(self._file(number, "docid")) as stream:
            stream.writelines(f"{docid}\n" for docid in docids)
        # The vectors come last: where they are, the part is whole.
        save_array(self._file(number, "npy"), vectors)

    def docids(self) -> Iterator[str]:
        """Yield the docids of all parts."""
        for number in self._numbers:
            yield from self._file(number, "docid").read_text(encoding="utf-8").splitlines()

    def vectors(self) -> Iterator[FloatArray]:
        """Yield the vectors of each part, memory-mapped."""
        for number in self._numbers:
            path = self._file(number, "npy")
            try:
                yield np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise InputError(f"{path}: cannot be read: {error}; remove it and encode again") from None

    def seconds(self) -> float:
        """Return how long all parts took together, whoever made them."""
        return math.fsum(float(self._file(number, "seconds").read_text(encoding="utf-8")) for number in self._numbers)

    def remove(self) -> None:
        """Remove the hidden folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, number: int, suffix: str) -> Path:
        return self.folder / f"part-{number:06d}.{suffix}"


def _difference(manifest: Path, request: dict[str, Any]) -> str | None:
    try:
        begun = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"{manifest.name} cannot be read ({error})"
    for key in sorted({*begun, *request}):
        if begun.get(key) != request.get(key):
            return f"an encoding with {key} {begun.get(key)!r} was begun here, now it is {request.get(key)!r}"
    return None
