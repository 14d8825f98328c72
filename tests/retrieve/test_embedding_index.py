"""FAISS folders: what faiss and Pyserini write opens, finds and gives back; what is broken is told."""

from __future__ import annotations

import hashlib
import json

import faiss
import numpy as np
import pytest

from reranker_kd.errors import FormatError, InputError
from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
from reranker_kd.retrieve.dense.index_types import openmp_threads
from reranker_kd.retrieve.dense.index_writer import write_index

COUNT, DIMENSION = 400, 16


def _vectors(count=COUNT, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


VECTORS = _vectors()
QUERIES = _vectors(5, seed=1)
DOCIDS = [f"doc{row * 7 % COUNT}" for row in range(COUNT)]


def _folder(path, index_type="Flat", docids=DOCIDS):
    path.mkdir()
    with (path / "index").open("wb") as stream:
        write_index(stream, lambda: [VECTORS], dimension=DIMENSION, index_type=index_type)
    (path / "docid").write_text("".join(f"{docid}\n" for docid in docids))
    return path


@pytest.fixture
def pyserini_folder(tmp_path):
    """A folder as ``pyserini.encode`` writes it with ``--to-faiss``."""
    folder = tmp_path / "by-pyserini"
    folder.mkdir()
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(VECTORS)
    faiss.write_index(index, str(folder / "index"))
    with (folder / "docid").open("w") as stream:
        for docid in DOCIDS:
            stream.write(f"{docid}\n")
    return folder


def test_a_folder_of_pyserini(pyserini_folder):
    index = EmbeddingIndex(pyserini_folder)
    assert (len(index), index.dimension, index.docids) == (COUNT, DIMENSION, DOCIDS)
    scores, rows = index.search(QUERIES, 10)
    products = QUERIES @ VECTORS.T
    assert np.array_equal(rows, np.argsort(-products, axis=1)[:, :10])
    np.testing.assert_allclose(scores, np.take_along_axis(products, rows, axis=1), rtol=1e-5)
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)
    assert np.array_equal(index.vectors_of(index.rows_of(DOCIDS)), VECTORS)


# How far a vector may be from what was written: the types keep it more or less finely.
TYPES = {
    "Flat": 0.0,
    "SQ8": 0.01,
    "fp16": 1e-3,
    "HNSW8": 0.0,
    "HNSW8,SQ8": 0.01,
    "IVF4,Flat": 0.0,
    "IVF4,SQ8": 0.01,
    "PQ4x4np": 0.8,
    "RR16,SQ8": 0.01,
    "RR16,IVF4,Flat": 1e-6,
    "SQ8,RFlat": 0.0,
    "IVF4,PQ4x4np,RFlat": 0.0,
}


@pytest.mark.parametrize("index_type", TYPES)
def test_every_type_is_searched_and_gives_its_vectors_back(tmp_path, index_type):
    index = EmbeddingIndex(_folder(tmp_path / "x", index_type))
    _, rows = index.search(VECTORS[:50], 1)
    assert (rows[:, 0] == np.arange(50)).mean() > (0.2 if "PQ" in index_type else 0.8)
    wanted = [DOCIDS[300], "absent", DOCIDS[0], DOCIDS[300]]
    assert index.rows_of(wanted).tolist() == [300, -1, 0, 300]
    vectors = index.vectors_of(np.array([300, 0, 300]))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, VECTORS[[300, 0, 300]], rtol=0, atol=TYPES[index_type])


def test_no_rows_and_no_docids(tmp_path):
    index = EmbeddingIndex(_folder(tmp_path / "x"))
    assert index.rows_of([]).shape == (0,)
    assert index.vectors_of(index.rows_of([])).shape == (0, DIMENSION)


@pytest.mark.parametrize("row", [-1, COUNT])
def test_rows_that_are_not_there_are_refused(tmp_path, row):
    index = EmbeddingIndex(_folder(tmp_path / "x"))
    with pytest.raises(InputError, match=f"has no row {row}: rows are 0 to {COUNT - 1}"):
        index.vectors_of(np.array([0, row]))


def test_types_that_give_no_vectors_back_say_so(tmp_path):
    index = EmbeddingIndex(_folder(tmp_path / "x", "IVF4,PQ4x4fs"))
    assert index.search(QUERIES, 3)[1].min() >= 0
    with pytest.raises(InputError, match="does not give vectors back"):
        index.vectors_of(np.array([0]))


def test_hits_are_at_most_the_documents(tmp_path):
    index = EmbeddingIndex(_folder(tmp_path / "x"))
    _, rows = index.search(QUERIES, 1000)
    assert rows.shape == (5, COUNT)
    assert (np.sort(rows) == np.arange(COUNT)).all()


def test_where_an_ivf_index_finds_fewer_rows_are_minus_one(tmp_path):
    _, rows = EmbeddingIndex(_folder(tmp_path / "x", "IVF16,Flat"), nprobe=1).search(QUERIES, COUNT)
    assert (rows[:, 0] >= 0).all()
    assert (rows[:, -1] == -1).all()


@pytest.mark.parametrize("index_type", ["IVF16,Flat", "RR16,IVF16,Flat", "IVF16,SQ8,RFlat"])
def test_all_lists_find_everything(tmp_path, index_type):
    folder = _folder(tmp_path / "x", index_type)
    found = [(EmbeddingIndex(folder, nprobe=nprobe).search(QUERIES, COUNT)[1] >= 0).sum() for nprobe in (1, 4, 16)]
    assert found[0] < found[1] < found[2] == 5 * COUNT


@pytest.mark.parametrize("index_type", ["HNSW4", "RR16,HNSW4", "HNSW4,SQ8,RFlat"])
def test_a_wider_search_of_a_graph_finds_more(tmp_path, index_type):
    folder = _folder(tmp_path / "x", index_type)
    queries = _vectors(100, seed=2)
    best = (queries @ VECTORS.T).argmax(axis=1)
    found = [(EmbeddingIndex(folder, ef_search=ef).search(queries, 1)[1][:, 0] == best).mean() for ef in (1, 200)]
    assert found[0] + 0.1 < found[1]
    assert found[1] > 0.85


@pytest.mark.parametrize("kind", [faiss.IndexIDMap, faiss.IndexIDMap2])
def test_an_idmap_that_numbers_rows_is_taken_and_another_refused(tmp_path, kind):
    folder = _folder(tmp_path / "x")
    for numbers in (np.arange(COUNT), np.arange(COUNT)[::-1]):
        flat = faiss.IndexFlatIP(DIMENSION)
        index = kind(flat)
        index.add_with_ids(VECTORS, numbers.copy())
        faiss.write_index(index, str(folder / "index"))
        if numbers[0]:
            with pytest.raises(FormatError, match="numbers its vectors otherwise"):
                EmbeddingIndex(folder)
        else:
            assert EmbeddingIndex(folder).search(VECTORS[:3], 1)[1][:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "index_type", "fault"),
    [
        ({"ef_search": 64}, "Flat", "ef_search is for an HNSW index, but this one is Flat"),
        ({"ef_search": 64}, "IVF4,Flat", "but this one is IVF4,Flat"),
        ({"nprobe": 8}, "HNSW8", "nprobe is for an IVF index, but this one is HNSW8"),
        ({"nprobe": 8}, "RR16,SQ8", "nprobe is for an IVF index"),
        ({"nprobe": 0}, "IVF4,Flat", "nprobe is 0: expected 1 or more"),
        ({"ef_search": -1}, "HNSW8", "ef_search is -1: expected 1 or more"),
        ({"threads": 0}, "Flat", "threads is 0: expected 1 or more"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(tmp_path, options, index_type, fault):
    with pytest.raises(InputError, match=fault):
        EmbeddingIndex(_folder(tmp_path / "x", index_type), **options)


def test_queries_that_do_not_fit_are_refused(tmp_path):
    index = EmbeddingIndex(_folder(tmp_path / "x"))
    with pytest.raises(InputError, match=r"x: holds vectors of 16 dimensions, but the queries have shape \(5, 8\)"):
        index.search(QUERIES[:, :8], 10)
    with pytest.raises(InputError, match=r"shape \(16,\)"):
        index.search(QUERIES[0], 10)
    with pytest.raises(InputError, match="hits is 0"):
        index.search(QUERIES, 0)


def test_the_number_of_threads_holds_for_the_search_alone(tmp_path, monkeypatch):
    index = EmbeddingIndex(_folder(tmp_path / "x"), threads=3)
    within = []
    search = index._index.search
    monkeypatch.setattr(
        index._index, "search", lambda *given: (within.append(faiss.omp_get_max_threads()), search(*given))[1]
    )
    with openmp_threads(2):
        index.search(QUERIES, 3)
        assert faiss.omp_get_max_threads() == 2
    assert within == [3]


@pytest.mark.parametrize(
    ("index_type", "kind"),
    [
        *((name, name) for name in ("Flat", "SQ8", "HNSW8,SQ8", "IVF4,Flat")),
        *(("fp16", "SQfp16"), ("RR16,SQ8", "IndexPreTransform > IndexScalarQuantizer")),
    ],
)
def test_the_description_identifies_the_index(tmp_path, index_type, kind):
    folder = _folder(tmp_path / "x", index_type)
    described = EmbeddingIndex(folder).describe()
    digest = hashlib.sha256((folder / "index").read_bytes()).hexdigest()
    assert described == {"type": kind, "dimension": DIMENSION, "vectors": COUNT, "sha256": digest}
    assert json.loads(json.dumps(described)) == described


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere/index: no such file: expected a folder with the files index and"):
        EmbeddingIndex(tmp_path / "nowhere")
    folder = _folder(tmp_path / "x")
    (folder / "docid").unlink()
    with pytest.raises(InputError, match="x/docid: no such file"):
        EmbeddingIndex(folder)


@pytest.mark.parametrize("index_type", ["Flat", "SQ8", "PQ4x4np", "HNSW8", "IVF4,Flat"])
def test_a_broken_index_is_told_in_one_line(tmp_path, index_type):
    folder = _folder(tmp_path / "x", index_type)
    whole = (folder / "index").read_bytes()
    for length in (0, 3, 4, 20, 37, 60, len(whole) // 2, len(whole) - 4097, len(whole) - 1):
        (folder / "index").write_bytes(whole[: max(length, 0)])
        with pytest.raises(FormatError, match="x/index: not a FAISS index of float vectors, or not whole") as caught:
            EmbeddingIndex(folder)
        assert "\n" not in str(caught.value)
    (folder / "index").write_bytes(b"Lucene" * 1000)
    with pytest.raises(FormatError, match="not a FAISS index"):
        EmbeddingIndex(folder)


def test_other_metrics_and_empty_indexes_are_refused(tmp_path):
    folder = _folder(tmp_path / "x")
    index = faiss.IndexFlatL2(DIMENSION)
    index.add(VECTORS)
    faiss.write_index(index, str(folder / "index"))
    with pytest.raises(FormatError, match="another metric than the inner product"):
        EmbeddingIndex(folder)
    faiss.write_index(faiss.IndexFlatIP(DIMENSION), str(folder / "index"))
    with pytest.raises(FormatError, match="holds no vectors"):
        EmbeddingIndex(folder)


@pytest.mark.parametrize(
    ("docids", "fault"),
    [
        (DOCIDS[:-1], r"x/docid: names 399 documents, but the index holds 400 vectors"),
        ([*DOCIDS, "one-more"], "names 401 documents"),
        ([*DOCIDS[:9], DOCIDS[2], *DOCIDS[10:]], r"x/docid:10: docid 'doc14' is on line 3 too"),
        ([*DOCIDS[:9], "", *DOCIDS[10:]], r"x/docid:10: the docid is empty"),
        ([*DOCIDS[:9], "two words", *DOCIDS[10:]], r"x/docid:10: the docid 'two words' has whitespace"),
    ],
)
def test_docids_that_do_not_fit_are_named(tmp_path, docids, fault):
    with pytest.raises(FormatError, match=fault):
        EmbeddingIndex(_folder(tmp_path / "x", docids=docids))


def test_trailing_whitespace_of_docids_is_dropped_as_by_pyserini(tmp_path):
    folder = _folder(tmp_path / "x")
    (folder / "docid").write_text("".join(f"{docid} \r\n" for docid in DOCIDS))
    assert EmbeddingIndex(folder).docids == DOCIDS
