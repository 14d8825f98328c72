from __future__ import annotations

import gzip

import pytest

from reranker_kd.errors import InputError
from reranker_kd.formats.validate import kind_of_file, validate_file


def test_every_fault_of_a_long_run_is_named_in_order(tmp_path):
    lines = [f"{i // 100} Q0 d{i % 100} {i % 100 + 1} {100 - i % 100} t" for i in range(10_000)]
    lines[0] = "0 Q0 d0 1 100"
    lines[4999] = "49 Q0 d99 100 nan t"
    lines[7000] = lines[7001]
    lines[9999] = "\x00"
    path = tmp_path / "run.txt"
    path.write_text("\n".join(lines))
    validation = validate_file(path)
    assert (validation.path, validation.kind, validation.entries) == (str(path), "run", 9_996)
    assert [(fault.path, fault.line) for fault in validation.faults] == [
        (str(path), line) for line in (1, 5_000, 7_002, 10_000)
    ]
    assert validation.faults[1].fault == "the score is nan; expected a finite number"


def test_more_faults_than_anyone_would_count_are_all_named(tmp_path):
    path = tmp_path / "qrels"
    path.write_text("1 0 d1 1\n" + "bad\n" * 2_000)
    assert [fault.line for fault in validate_file(path).faults] == list(range(2, 2_002))


def test_bytes_that_are_not_utf8_do_not_end_validation(tmp_path):
    path = tmp_path / "run"
    path.write_bytes(b"1 Q0 d1 1 2 t\n1 Q0 d\xff 2 1 t\n1 Q0 d2 3 x t\n")
    assert [fault.line for fault in validate_file(path).faults] == [2, 3]


def test_a_cut_gzip_stream_is_the_last_fault(tmp_path):
    path = tmp_path / "run.gz"
    path.write_bytes(gzip.compress(b"".join(b"1 Q0 d%d 1 %d t\n" % (i, i) for i in range(9_000)))[:-20])
    validation = validate_file(path, "run")
    assert "broken gzip stream" in validation.faults[-1].fault


def test_blank_texts_of_a_collection_are_faults_here(tmp_path):
    path = tmp_path / "corpus.tsv"
    path.write_text("1\ta\n2\t \n3\n4\td\n")
    validation = validate_file(path)
    assert (validation.path, validation.kind, validation.entries) == (str(path), "collection", 2)
    assert [str(fault) for fault in validation.faults] == [
        f"{path}:2: document 2 has no text; write one or remove it",
        f"{path}:3: expected 2 columns, docid TAB text, got 1",
    ]


def test_faults_in_a_folder_name_their_file(tmp_path):
    (tmp_path / "a.tsv").write_text("1\ta\n1\tb\n")
    (tmp_path / "b.tsv").write_text("2\ta\nbad\n")
    places = [(fault.path, fault.line) for fault in validate_file(tmp_path).faults]
    assert places == [(str(tmp_path / "a.tsv"), 2), (str(tmp_path / "b.tsv"), 2)]


def test_an_empty_file_has_a_fault_without_a_line(tmp_path):
    path = tmp_path / "empty"
    path.write_text("")
    for kind in ("run", "qrels", "topics", "collection"):
        (fault,) = validate_file(path, kind).faults
        assert fault.line is None
        assert fault.fault.startswith("no ")


KINDS = {
    "1 Q0 d1 1 2.5 t": "run",
    "1\td1\t1": "run",
    "broken\n1 Q0 d1 1 2.5 t": "run",
    "1 0 d1 1": "qrels",
    "query-id\tcorpus-id\tscore\n1\td1\t1": "qrels",
    "<top>\n<num> 1\n<title> a": "topics",
    '<?xml version="1.0"?>\n<topics></topics>': "topics",
    '{"qid": "1", "text": "a"}': "topics",
    '{"id": "1", "title": "a"}': "topics",
    '{"id": "1", "contents": "a"}': "collection",
    '{"docid": "1", "text": "a"}': "collection",
    '{"_id": "1", "title": "", "text": "a"}': "collection",
}


@pytest.mark.parametrize(("content", "kind"), KINDS.items())
def test_the_kind_is_told_by_content(tmp_path, content, kind):
    path = tmp_path / "topics-or-collection"
    path.write_text(content + "\n")
    assert kind_of_file(path) == kind


@pytest.mark.parametrize("content", ["1\tsome text\n", '{"_id": "1", "text": "some text"}\n'])
def test_what_may_be_topics_or_documents_is_told_by_its_name(tmp_path, content):
    for name, kind in {
        "queries.jsonl": "topics",
        "topics.dl20.tsv": "topics",
        "corpus.jsonl": "collection",
        "Collection.tsv": "collection",
    }.items():
        (tmp_path / name).write_text(content)
        assert kind_of_file(tmp_path / name) == kind
    (tmp_path / "data").write_text(content)
    with pytest.raises(InputError, match="data: may be collection or topics; say which with --kind"):
        validate_file(tmp_path / "data")
    assert not validate_file(tmp_path / "data", "topics").faults


@pytest.mark.parametrize("content", ["", "some words\n", "{broken\n", '{"a": 1}\n'])
def test_a_kind_that_cannot_be_told_is_an_input_error(tmp_path, content):
    path = tmp_path / "topics"
    path.write_text(content)
    with pytest.raises(InputError, match="cannot be detected as run, qrels, topics, collection; say which with --kind"):
        validate_file(path)


def test_an_unknown_kind_and_an_absent_file_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="unknown kind 'index'; expected one of run, qrels, topics, collection"):
        validate_file(tmp_path, "index")
    with pytest.raises(InputError, match="No such file"):
        validate_file(tmp_path / "absent")


@pytest.mark.slow
def test_the_test_collections_are_clean_but_for_two_blank_abstracts(shared_data):
    entries: dict[str, int] = {}
    faults = []
    for path in sorted(path for path in shared_data.rglob("*.*") if path.is_file() and path.name != "README.md"):
        validation = validate_file(path)
        entries[validation.kind] = entries.get(validation.kind, 0) + validation.entries
        faults += [(str(path.relative_to(shared_data)), fault.line, fault.fault) for fault in validation.faults]
    # Cranfield's abstracts 471 and 995 are empty in every copy of the collection.
    assert faults == [
        ("cranfield/collection.jsonl.gz", line, f"document {line} has no text; write one or remove it")
        for line in (471, 995)
    ]
    assert entries == {
        "run": 100 * (6 * 54 + 3 * 53 + 3 * 76) + 869_123 + 2 * 1_594_544,
        "qrels": 11_386 + 10_828 + 796 + 1_837 + 696 + 2_302 + 54_184,
        "topics": 183 + 2 * 64 + 225 + 48_794 + 30 + 103 + 99_659,
        "collection": 42_665 + 3_204 + 1_400 - 2 + 1_033 + 16_292 + 80_851,
    }
