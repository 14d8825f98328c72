"""From a collection to a folder of embeddings that Pyserini's FaissSearcher opens: ``index`` and ``docid``."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from reranker_kd.errors import InputError, OutputError
from reranker_kd.formats.collections import read_collection, read_numbered_documents
from reranker_kd.formats.files import atomic_writer
from reranker_kd.formats.parsing import raise_fault
from reranker_kd.inference.text_encoder import TextEncoder
from reranker_kd.provenance import provenance_path, read_provenance, write_provenance
from reranker_kd.retrieve.dense.index_types import resolve_index_type
from reranker_kd.retrieve.dense.index_writer import write_index
from reranker_kd.retrieve.dense.parts import PARTS, EmbeddingParts, vectors_file
from reranker_kd.types import Document, FloatArray

PART_SIZE = 2048
"""Documents encoded between two saves: enough to find others of like length, few enough to lose little."""

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class CollectionSurvey:
    """What one pass over a collection found.

    :param documents: documents with text
    :param sha256: over their docids and texts, in their order
    :param empty: documents without text, which get no embedding
    :param first_empty: file and line of the first of them
    """

    documents: int
    sha256: str
    empty: int
    first_empty: str | None


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoding did.

    :param documents: documents that were encoded by this call; 0 where all was there
    :param cut: those of them that are longer than the model takes
    :param missing: parts that other shards have yet to make; the folder is finished when there are none
    """

    documents: int
    cut: int
    missing: int


def survey_collection(collection: str | Path) -> CollectionSurvey:
    """Read a collection once, so that its faults are found before hours of encoding, and return what it holds.

    :raises FormatError: a fault, such as a docid that stands twice; or no document with text
    """
    digest = hashlib.sha256()
    documents = empty = 0
    first_empty = None
    for path, line, document in read_numbered_documents(collection, raise_fault):
        if document.text.strip():
            documents += 1
            digest.update(f"{document.docid}\0{document.text}\n".encode())
        else:
            empty += 1
            first_empty = first_empty or f"{path}:{line}"
    if not documents:
        raise InputError(f"{collection}: none of its {empty} documents has a text: there is nothing to encode")
    return CollectionSurvey(documents, digest.hexdigest(), empty, first_empty)


def encode_collection(
    collection: str | Path,
    survey: CollectionSurvey,
    encoder: TextEncoder,
    output: str | Path,
    *,
    index_type: str = "Flat",
    part_size: int = PART_SIZE,
    shard: tuple[int, int] = (0, 1),
    overwrite: bool = False,
    on_progress: Progress = lambda _: None,
) -> Encoded:
    """Encode a collection part by part, then write its FAISS folder; go on where an earlier call was stopped.

    The vectors of a part do not depend on what was encoded before it, so that the folder is the same byte by byte
    whether or not the work was interrupted, and however many shards made it.

    :param survey: what :func:`survey_collection` found
    :param index_type: see :func:`resolve_index_type`
    :param part_size: documents of a part
    :param shard: (id, number): this call makes the parts whose number leaves the remainder id; whoever finishes the
        last part writes the folder
    :param overwrite: replace what the folder holds
    :param on_progress: called with the number of documents finished since the last call
    :raises InputError: a folder that holds other embeddings, or an index type that does not fit
    """
    output = Path(output)
    index_type = resolve_index_type(index_type, encoder.dimension)
    model = encoder.describe()
    request = {
        "collection": survey.sha256,
        "part_size": part_size,
        **{f"model {key}": model[key] for key in ("sha256", "max_length", "precision")},
    }
    if not overwrite and _is_finished(output, {**request, "index_type": index_type}):
        return Encoded(0, 0, 0)
    parts = EmbeddingParts(output, request, -(-survey.documents // part_size), overwrite=overwrite)
    encoded = cut = 0
    mine = {number for number in parts.missing if number % shard[1] == shard[0]}
    if mine:
        for number, documents in enumerate(_parts_of(collection, part_size)):
            if number not in mine:
                continue
            start = time.perf_counter()
            tokens = encoder.document_tokens([document.text for document in documents])
            vectors = encoder.embed_documents(tokens, on_progress)
            seconds = time.perf_counter() - start
            parts.save(number, [document.docid for document in documents], vectors, seconds)
            encoded += len(documents)
            cut += sum(len(ids) > encoder.document_room for ids in tokens)
    if parts.missing and parts.folder.is_dir():
        return Encoded(encoded, cut, len(parts.missing))
    record = {
        "request": {**request, "index_type": index_type},
        "collection": {"path": str(collection), "sha256": survey.sha256},
        "model": model,
        "counts": {"documents": survey.documents, "empty": survey.empty},
    }
    with parts.locked():
        # Another shard may have finished the folder while this one waited.
        if not parts.missing:
            record["seconds"] = {"encode": round(parts.seconds(), 3)}
            write_folder(output, parts, parts.docids(), encoder.dimension, index_type, record)
            parts.remove()
    return Encoded(encoded, cut, 0)


def pending_documents(survey: CollectionSurvey, output: Path, part_size: int, shard: tuple[int, int]) -> int:
    """Return how many documents a call of :func:`encode_collection` has yet to encode, for its progress bar."""
    numbers = range(shard[0], -(-survey.documents // part_size), shard[1])
    sizes = [min(part_size, survey.documents - number * part_size) for number in numbers]
    done = [vectors_file(output / PARTS, number).is_file() for number in numbers]
    return sum(size for size, is_done in zip(sizes, done, strict=True) if not is_done)


def write_folder(
    output: Path,
    parts: Sequence[FloatArray],
    docids: Iterable[str],
    dimension: int,
    index_type: str,
    record: dict[str, Any],
    on_progress: Progress = lambda _: None,
) -> None:
    """Write ``index``, ``docid`` and provenance, in an order in which no reader finds an old with a new one.

    :param parts: arrays (n, dimension), in the order of ``docids``
    :param record: what is known of the vectors, for the provenance
    """
    output.mkdir(parents=True, exist_ok=True)
    index = output / "index"
    temporary = output / ".index.part"
    try:
        write_index(temporary, parts, dimension=dimension, index_type=index_type, on_progress=on_progress)
        index.unlink(missing_ok=True)
        provenance_path(index).unlink(missing_ok=True)
        with atomic_writer(output / "docid") as stream:
            stream.writelines(f"{docid}\n" for docid in docids)
        temporary.replace(index)
    except OSError as error:
        raise OutputError(f"{output}: cannot write: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    write_provenance(index, {"stage": "encode", "index_type": index_type, **record})


def _is_finished(output: Path, request: dict[str, Any]) -> bool:
    if not (output / "index").exists() or (output / PARTS).is_dir():
        return False
    made_by = read_provenance(output / "index") or {}
    if made_by.get("request") != request:
        raise InputError(f"{output}: holds other embeddings already: name another --output, or --overwrite")
    return True


def _parts_of(collection: str | Path, part_size: int) -> Iterator[list[Document]]:
    documents = (document for document in read_collection(collection) if document.text.strip())
    while part := list(islice(documents, part_size)):
        yield part
