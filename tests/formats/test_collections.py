from __future__ import annotations

import gzip
import json
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.errors import FormatError, InputError
from reranker_kd.formats.collections import read_collection, read_texts
from reranker_kd.types import Document

EXPECTED = [Document("d1", "first text"), Document("d2", "second")]

JSONL = '{"id": "d1", "contents": "first text"}\n\n{"id": "d2", "contents": "second", "title": "not added"}\n'
BEIR = '{"_id": "d1", "title": "first", "text": "text"}\n{"_id": "d2", "title": "", "text": "second", "metadata": {}}\n'
OTHER_KEYS = '{"docid": "d1", "text": "first text"}\n{"docid": "d2", "title": null, "text": "second"}\n'
TSV = "d1\tfirst text\nd2\tsecond\n"


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("encode", [str.encode, lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()])
@pytest.mark.parametrize("content", [JSONL, BEIR, OTHER_KEYS, TSV], ids=["jsonl", "beir", "other-keys", "tsv"])
def test_every_layout_is_detected_from_the_content(tmp_path, content, encode, compress):
    path = tmp_path / "documents"
    path.write_bytes(compress(encode(content)))
    assert list(read_collection(path)) == EXPECTED


def test_integers_are_taken_as_docids_and_texts_may_be_empty(tmp_path):
    path = tmp_path / "documents"
    path.write_text('{"id": 7, "contents": ""}\n{"id": "8", "title": "only a title", "text": ""}\n')
    assert list(read_collection(path)) == [Document("7", ""), Document("8", "only a title")]


def test_a_folder_is_read_by_name_without_hidden_and_other_files(tmp_path):
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"id": "3", "contents": "c"}\n'))
    (tmp_path / "a.tsv").write_text("1\ta\n2\tb\n")
    (tmp_path / "c" / "d").mkdir(parents=True)
    (tmp_path / "c" / "d" / "e.json").write_text('{"id": "4", "contents": "d"}\n')
    for ignored in (".a.jsonl.part", ".hidden.jsonl", "notes.txt", "c/.f.tsv", "archive.gz"):
        (tmp_path / ignored).write_text("not a document")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "g.tsv").write_text("5\te\n")
    (tmp_path / "folder.tsv").mkdir()
    assert [document.docid for document in read_collection(tmp_path)] == ["1", "2", "3", "4"]


def test_a_folder_without_documents_is_an_input_error(tmp_path):
    (tmp_path / "notes.txt").write_text("1\ta\n")
    with pytest.raises(InputError, match=r"no file ends in \.jsonl, \.json, \.tsv or one of these with \.gz"):
        next(read_collection(tmp_path))
    with pytest.raises(InputError, match="No such file"):
        next(read_collection(tmp_path / "absent.jsonl"))


def test_documents_are_streamed(tmp_path):
    path = tmp_path / "documents.tsv"
    path.write_text("1\ta\n2\tb\nbroken\n")
    assert [document.docid for document in islice(read_collection(path), 2)] == ["1", "2"]


FAULTS = {
    "invalid JSON": (JSONL + '{"id": "d3", "contents": "a}\n', 4, "invalid JSON at column 26: Unterminated string"),
    "JSON array": ('[{"id": "d1", "contents": "a"}]\n', 1, "expected 2 columns, docid TAB text, got 1"),
    "no object": (JSONL + "3\n", 4, "expected one JSON object a line, got a number"),
    "no docid": (JSONL + '{"contents": "a"}\n', 4, "expected the key id or _id or docid, got contents"),
    "no text": (JSONL + '{"id": "d3"}\n', 4, "expected the key contents or text, got id"),
    "no keys": (JSONL + "{}\n", 4, "expected the key id or _id or docid, got no keys"),
    "wrong type of docid": (JSONL + '{"id": 1.5, "contents": "a"}\n', 4, "expected a string under id, got a number"),
    "wrong type of contents": (JSONL + '{"id": "d3", "contents": null}\n', 4, "a string under contents, got null"),
    "wrong type of title": (BEIR + '{"_id": "d3", "title": ["a"], "text": "a"}', 3, "string under title, got an array"),
    "empty docid": (JSONL + '{"id": "", "contents": "a"}\n', 4, "the docid is empty"),
    "whitespace in docid": (JSONL + '{"id": "d 3", "contents": "a"}\n', 4, "the docid 'd 3' has whitespace"),
    "duplicate docid": (JSONL + '{"id": "d1", "contents": "a"}\n', 4, "docid d1 is in the collection twice"),
    "half surrogate": (JSONL + '{"id": "d3", "contents": "\\uDC00"}\n', 4, r"half of a surrogate pair \(\\udc00\)"),
    "missing tab": (TSV + "d3 third\n", 3, "expected 2 columns, docid TAB text, got 1"),
    "third column": (TSV + "d3\tthird\ttext\n", 3, "expected 2 columns, docid TAB text, got 3"),
    "empty TSV docid": (TSV + "\tthird\n", 3, "the docid is empty"),
    "duplicate in TSV": (TSV + "d2\tthird\n", 3, "docid d2 is in the collection twice"),
    "empty file": ("", None, "no documents"),
}


@pytest.mark.parametrize(("content", "line", "fault"), FAULTS.values(), ids=FAULTS)
def test_faults_are_named_with_their_line(tmp_path, content, line, fault):
    path = tmp_path / "documents"
    path.write_text(content)
    with pytest.raises(FormatError, match=fault) as raised:
        list(read_collection(path))
    assert (raised.value.path, raised.value.line) == (str(path), line)


def test_whole_surrogate_pairs_are_characters(tmp_path):
    path = tmp_path / "documents"
    path.write_text('{"id": "1", "contents": "\\ud83d\\ude00"}\n')
    assert list(read_collection(path)) == [Document("1", "\U0001f600")]


def test_a_docid_may_not_be_in_two_files_of_a_folder(tmp_path):
    (tmp_path / "a.tsv").write_text("1\ta\n2\tb\n")
    (tmp_path / "b.tsv").write_text("3\ta\n2\tb\n")
    with pytest.raises(FormatError, match=r"b\.tsv:2: docid 2 is in the collection twice"):
        list(read_collection(tmp_path))


def test_every_fault_is_reported_and_the_rest_read(tmp_path):
    path = tmp_path / "documents.jsonl"
    path.write_text('{"id": "1", "contents": "a"}\nbad\n{"id": "1", "contents": "b"}\n{"id": "2", "contents": "c"}\n')
    faults = []
    assert list(read_collection(path, faults.append)) == [Document("1", "a"), Document("2", "c")]
    assert [fault.line for fault in faults] == [2, 3]


WORDS = st.text(min_size=1, max_size=9).filter(lambda text: text.split() == [text])


@given(texts=st.dictionaries(WORDS, st.text(), min_size=1), ascii_only=st.booleans(), asked=st.sets(WORDS))
def test_json_lines_give_back_any_text(tmp_path, texts, ascii_only, asked):
    path = tmp_path / "documents.jsonl"
    lines = (json.dumps({"id": docid, "contents": text}, ensure_ascii=ascii_only) for docid, text in texts.items())
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    assert list(read_collection(path)) == [Document(docid, text) for docid, text in texts.items()]
    some = asked | set(list(texts)[::2])
    assert read_texts(path, some) == {docid: text for docid, text in texts.items() if docid in some}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("trec-dl/collection.msmarco-v1.jsonl.gz", 15_495),
        ("trec-dl/collection.msmarco-v2.jsonl.gz", 27_170),
        ("cacm/collection.jsonl.gz", 3_204),
        ("cranfield/collection.jsonl.gz", 1_400),
    ],
)
def test_documents_of_the_test_collections(shared_data, name, count):
    assert sum(1 for _ in read_collection(shared_data / name)) == count


def test_texts_of_candidates_are_found_and_missing_ones_are_absent(shared_data):
    path = shared_data / "trec-dl" / "collection.msmarco-v1.jsonl.gz"
    texts = read_texts(path, ["1001426", "1001344", "no-such-docid"])
    assert sorted(texts) == ["1001344", "1001426"]
    assert texts["1001344"].startswith("There are ways to save money, if your budget is tight.")


def test_a_folder_of_beirs_is_its_corpus(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "title": "Heat", "text": "flows"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "heat"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta\t1\n")
    assert list(read_collection(tmp_path)) == [Document("a", "Heat flows")]
