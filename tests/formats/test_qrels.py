from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.errors import FormatError
from reranker_kd.formats.qrels import read_qrels

EXPECTED = {"1": {"d1": 2, "d2": 0}, "2": {"d1": -1}}

TREC = "1 0 d1 2\n2\tQ0  d1 -1\n\n1 0 d2 0\n"
BEIR = "query-id\tcorpus-id\tscore\n1\td1\t2\n1\td2\t0\n2\td1\t-1\n"


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("encode", [str.encode, lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()])
@pytest.mark.parametrize("content", [TREC, BEIR], ids=["trec", "beir"])
def test_both_formats_are_told_by_content(tmp_path, content, encode, compress):
    path = tmp_path / "qrels"
    path.write_bytes(compress(encode(content)))
    assert read_qrels(path) == EXPECTED


WORDS = st.text(min_size=1, max_size=9).filter(lambda text: text.split() == [text] and "\ufeff" not in text)


@given(
    qrels=st.dictionaries(WORDS, st.dictionaries(WORDS, st.integers(-2, 4), min_size=1), min_size=1),
    layout=st.sampled_from(["{qid} 0 {docid} {grade}\n", "{qid}\t{docid}\t{grade}\n"]),
)
def test_any_judgments_are_read_back(tmp_path, qrels, layout):
    path = tmp_path / "qrels"
    header = "" if " 0 " in layout else "query-id\tcorpus-id\tscore\n"
    lines = (
        layout.format(qid=qid, docid=docid, grade=grade)
        for qid, grades in qrels.items()
        for docid, grade in grades.items()
    )
    path.write_text(header + "".join(lines), encoding="utf-8")
    assert read_qrels(path) == qrels


FAULTS = {
    "3 columns": ("1 0 d1 1\n1 0 d2\n", 2, "expected 4 columns, qid iteration docid grade, got 3"),
    "5 columns": ("1 0 d1 1\n1 0 d2 1 x\n", 2, "expected 4 columns, qid iteration docid grade, got 5"),
    "word as grade": ("1 0 d1 1\n1 0 d2 high\n", 2, "expected an integer as the grade, got 'high'"),
    "decimal grade": ("1 0 d1 1\n1 0 d2 1.0\n", 2, "expected an integer as the grade, got '1.0'"),
    "grade with underscore": ("1 0 d1 1\n1 0 d2 1_0\n", 2, "expected an integer as the grade, got '1_0'"),
    "judged twice": ("1 0 d1 1\n1 0 d2 1\n1 0 d1 0\n", 3, r"document d1 is judged twice for query 1 \(1 and 0\)"),
    "judged twice alike": ("1 0 d1 1\n1 0 d1 1\n", 2, r"document d1 is judged twice for query 1 \(1 and 1\)"),
    "empty file": ("", None, "no judgments"),
    "header only": ("query-id\tcorpus-id\tscore\n", None, "no judgments"),
    "spaces in BEIR": ("query-id\tcorpus-id\tscore\n1 d1 1\n", 2, "expected 3 columns with tabs between"),
    "empty id in BEIR": ("query-id\tcorpus-id\tscore\n1\t\t1\n", 2, "the corpus-id is empty"),
    "decimal in BEIR": ("query-id\tcorpus-id\tscore\n1\td1\t0.5\n", 2, "expected an integer as the grade"),
}


@pytest.mark.parametrize(("content", "line", "fault"), FAULTS.values(), ids=FAULTS)
def test_faults_are_named_with_their_line(tmp_path, content, line, fault):
    path = tmp_path / "qrels"
    path.write_text(content)
    with pytest.raises(FormatError, match=fault) as raised:
        read_qrels(path)
    assert (raised.value.path, raised.value.line) == (str(path), line)


def test_every_fault_is_reported_and_the_rest_read(tmp_path):
    path = tmp_path / "qrels"
    path.write_text("1 0 d1 1\nbad\n1 0 d2 x\n1 0 d1 2\n1 0 d3 3\n")
    faults = []
    assert read_qrels(path, faults.append) == {"1": {"d1": 1, "d3": 3}}
    assert [fault.line for fault in faults] == [2, 3, 4]


@pytest.mark.parametrize(
    ("name", "queries", "judgments", "grades"),
    [
        ("trec-dl/qrels.dl20.txt", 54, 11386, {0, 1, 2, 3}),
        ("trec-dl/qrels.dl21.txt", 53, 10828, {0, 1, 2, 3}),
        ("cacm/qrels.cacm.txt", 52, 796, {1}),
        ("cranfield/qrels.cranfield.txt", 225, 1837, {1, 2, 3, 4}),
    ],
)
def test_qrels_of_the_test_collections(shared_data, name, queries, judgments, grades):
    qrels = read_qrels(shared_data / name)
    assert len(qrels) == queries
    assert sum(map(len, qrels.values())) == judgments
    assert {grade for judged in qrels.values() for grade in judged.values()} == grades
