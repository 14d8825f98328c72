"""An index appears whole or not at all."""

from __future__ import annotations

import pytest

from reranker_kd.errors import FormatError, InputError, OutputError
from reranker_kd.retrieve.indexing import build_index
from reranker_kd.retrieve.lucene import LuceneIndex


@pytest.fixture
def collection(tmp_path):
    (tmp_path / "docs.tsv").write_text("d1\theat flow\nd2\tshock wave\n")
    return tmp_path / "docs.tsv"


def test_tsv_and_beir_folders(tmp_path, collection):
    (tmp_path / "beir").mkdir()
    (tmp_path / "beir" / "corpus.jsonl").write_text('{"_id": "b1", "title": "Heat", "text": "flows"}\n')
    build_index(collection, tmp_path / "one")
    build_index(tmp_path / "beir", tmp_path / "two")
    assert LuceneIndex(tmp_path / "one").texts(["d1", "d2"]) == {"d1": "heat flow", "d2": "shock wave"}
    assert LuceneIndex(tmp_path / "two").texts(["b1"]) == {"b1": "Heat flows"}


def test_a_fault_leaves_no_index_and_no_leftovers(tmp_path):
    (tmp_path / "docs.tsv").write_text("d1\theat flow\nd1\tagain\n")
    with pytest.raises(FormatError, match=r"docs\.tsv:2: "):
        build_index(tmp_path / "docs.tsv", tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["docs.tsv"]


def test_a_fault_far_down_leaves_the_old_index(tmp_path, collection):
    build_index(collection, tmp_path / "index")
    lines = [f"d{i}\ttext number {i}" for i in range(3000)]
    (tmp_path / "more.tsv").write_text("\n".join([*lines, "no tab here"]))
    with pytest.raises(FormatError, match=r"more\.tsv:3001: "):
        build_index(tmp_path / "more.tsv", tmp_path / "index", overwrite=True)
    assert LuceneIndex(tmp_path / "index").document_count == 2


def test_an_index_that_is_there_is_replaced_only_when_asked(tmp_path, collection):
    build_index(collection, tmp_path / "index")
    with pytest.raises(OutputError, match="is there already: give --overwrite"):
        build_index(collection, tmp_path / "index")
    collection.write_text("d3\tnew\n")
    build_index(collection, tmp_path / "index", overwrite=True)
    assert LuceneIndex(tmp_path / "index").texts(["d1", "d3"]) == {"d3": "new"}


def test_a_folder_that_is_no_index_is_never_replaced(tmp_path, collection):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    with pytest.raises(OutputError, match="holds no Lucene index, so it is not replaced"):
        build_index(collection, tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "one.jpg").exists()


def test_empty_documents_are_left_out_and_named(tmp_path):
    (tmp_path / "docs.tsv").write_text("d1\theat flow\nd2\t \nd3\t\n")
    indexed, empty = build_index(tmp_path / "docs.tsv", tmp_path / "index")
    assert (indexed, len(empty)) == (1, 2)
    assert empty[0] == f"{tmp_path / 'docs.tsv'}:2: document 'd2'"
    assert LuceneIndex(tmp_path / "index").document_count == 1


def test_a_collection_of_empty_documents(tmp_path):
    (tmp_path / "docs.tsv").write_text("d1\t \n")
    with pytest.raises(InputError, match="no document holds text"):
        build_index(tmp_path / "docs.tsv", tmp_path / "index")
