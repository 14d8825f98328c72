"""The columnar reader takes, orders and refuses as ``read_run`` does."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.errors import FormatError, InputError
from reranker_kd.formats import run_columns
from reranker_kd.formats.run_columns import RunColumns, columns_of_run, read_run_columns
from reranker_kd.formats.runs import read_run
from reranker_kd.types import Run

DOCIDS = st.sampled_from(
    ["d1", "d2", "d10", "D", "a-docid-of-more-than-eight-letters", "a-docid-of-more-than-eight-words"]
)
SCORES = st.one_of(
    st.floats(-3, 3).map(lambda score: round(score, 1)), st.floats(-1e30, 1e30), st.sampled_from([0.0, -0.0, 1e-40])
)
LINES = st.dictionaries(st.tuples(st.sampled_from("abc"), DOCIDS), SCORES, min_size=1).flatmap(
    lambda scores: st.permutations(list(scores.items()))
)
BLANKS = st.sampled_from([" ", " ", " ", "\t", "  ", " \t", "\u00a0", "\x1f", ""])
WORDS = st.sampled_from(
    ["q", "d", "7", "-1", "0x1F", "1_0", "2.5", "+2.5", "1e400", "nan", "inf", "1e3", ".5", "é", "", "٣"]
)


def _as_run(columns: RunColumns) -> Run:
    return {
        qid: dict(zip(columns.docids(qid), columns.scores[start:end].tolist(), strict=True))
        for qid, start, end in zip(columns.qids, columns.starts[:-1], columns.starts[1:], strict=True)
    }


def _assert_same(columns: RunColumns, run: Run) -> None:
    read = _as_run(columns)
    assert list(read) == list(run)
    for qid, documents in run.items():
        assert list(read[qid]) == list(documents)
        np.testing.assert_array_equal(list(read[qid].values()), np.float32(list(documents.values())))


@given(LINES)
def test_same_order_as_the_other_reader(tmp_path: Path, lines: list) -> None:
    path = tmp_path / "run.txt"
    path.write_text("".join(f"{qid} Q0 {docid} 1 {score!r} tag\n" for (qid, docid), score in lines))
    assert run_columns._read_clean(path) is not None, "the quick way"
    run = read_run(path)
    _assert_same(read_run_columns(path), run)
    _assert_same(columns_of_run(run), run)


@given(
    st.lists(st.lists(WORDS, min_size=5, max_size=7), min_size=1, max_size=3),
    BLANKS,
    st.sampled_from(["\n", "", "\r\n"]),
)
def test_same_faults_as_the_other_reader(tmp_path: Path, rows: list[list[str]], blank: str, end: str) -> None:
    path = tmp_path / "run.txt"
    path.write_bytes("\n".join(blank.join(row) for row in rows).encode() + end.encode())
    try:
        run = read_run(path)
    except FormatError as error:
        with pytest.raises(FormatError) as raised:
            read_run_columns(path)
        assert str(raised.value) == str(error)
    else:
        _assert_same(read_run_columns(path), run)


GOOD = "q Q0 a 1 2.5 t\nq Q0 b 2 1.5 t\n"


@pytest.mark.parametrize(
    "content",
    [
        GOOD + "q Q0 a 3 1 t\n",
        GOOD + "q Q0 c 3 nan t\n",
        GOOD + "q Q0 c 3 1e39 t\n",
        GOOD + "q Q0 c x 1 t\n",
        GOOD + "q Q0 c 3 1\n",
        GOOD + " Q0 c 3 1 t\n",
        GOOD + "q Q0 c 3 1 \n",
        GOOD + "q  c 3 1 t\n",
        "",
        "\n",
    ],
)
def test_a_fault_is_told_in_the_same_words(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.txt"
    path.write_text(content)
    with pytest.raises(FormatError) as expected:
        read_run(path)
    with pytest.raises(FormatError) as raised:
        read_run_columns(path)
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize(
    "content",
    [
        GOOD.encode(),
        gzip.compress(GOOD.encode()),
        GOOD.replace(" ", "\t").encode(),
        GOOD.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.strip().encode(),
        "q Q0 Ä 1 2 t\nq Q0 Z 2 2 t\n".encode(),
        b"q\ta\t1\nq\tb\t2\n",
    ],
)
def test_what_is_taken(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run"
    path.write_bytes(content)
    _assert_same(read_run_columns(path), read_run(path))


def test_a_broken_gzip_stream_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(GOOD.encode() * 10)[:-12])
    with pytest.raises(FormatError, match="broken gzip stream"):
        read_run_columns(tmp_path / "cut.gz")
    with pytest.raises(InputError, match="cannot read"):
        read_run_columns(tmp_path / "absent")


def test_blanks_at_the_seam_of_two_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_columns, "_PIECE", 7)
    for shift in range(8):
        text = "x" * shift + "q Q0 a 1 2.5 t\nq Q0 b 2 1.5 t\n"
        assert run_columns._delimiter(text.encode()) == " "
        for place in (text.index(" "), text.index("\n"), text.rindex("\n")):
            assert run_columns._delimiter(f"{text[:place]} {text[place:]}".encode()) is None


def test_a_published_run(shared_data: Path) -> None:
    for path in sorted((shared_data / "trec-dl" / "runs").glob("run.dl20.*.txt")):
        assert run_columns._read_clean(path) is not None
        _assert_same(read_run_columns(path), read_run(path))
