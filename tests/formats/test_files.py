from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reranker_kd.errors import FormatError, InputError, OutputError
from reranker_kd.formats.files import atomic_writer, read_lines, sha256_of_file


@pytest.mark.parametrize("content", [b"one\ntwo\n", b"one\r\ntwo\r\n", b"\xef\xbb\xbfone\ntwo", b"one\ntwo"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_lines_come_without_breaks_and_byte_order_mark(tmp_path, content, compress):
    # The name says nothing of compression.
    path = tmp_path / "lines"
    path.write_bytes(compress(content))
    assert list(read_lines(path)) == [(1, "one"), (2, "two")]


def test_only_line_feeds_end_lines(tmp_path):
    path = tmp_path / "lines"
    path.write_text("a\u2028b\x0bc\x85d\n", encoding="utf-8")
    assert list(read_lines(path)) == [(1, "a\u2028b\x0bc\x85d")]


def test_gzip_of_several_members_is_read_whole(tmp_path):
    path = tmp_path / "lines.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert list(read_lines(path)) == [(1, "one"), (2, "two")]


def test_bytes_that_are_not_utf8_are_named_by_line_and_column(tmp_path):
    path = tmp_path / "latin1.txt"
    path.write_bytes("fine\nna\u00efve\n".encode("latin-1"))
    with pytest.raises(FormatError, match=r"latin1\.txt:2: expected UTF-8 text, got byte 0xef at column 3"):
        list(read_lines(path))


def test_a_report_that_returns_leaves_out_the_faulty_line(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"one\n\xff\nthree\n\xff\n")
    faults = []
    assert list(read_lines(path, faults.append)) == [(1, "one"), (3, "three")]
    assert [fault.line for fault in faults] == [2, 4]


def test_a_cut_gzip_stream_is_a_fault(tmp_path):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(os.urandom(5000).hex().encode())[:-400])
    with pytest.raises(FormatError, match="broken gzip stream"):
        list(read_lines(path))


def test_damaged_gzip_bytes_are_a_fault(tmp_path):
    whole = bytearray(gzip.compress(b"some text that compresses\n" * 100))
    whole[-8] ^= 0xFF
    path = tmp_path / "damaged.gz"
    path.write_bytes(whole)
    with pytest.raises(FormatError, match="broken gzip stream"):
        list(read_lines(path))


def test_what_cannot_be_opened_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        list(read_lines(tmp_path / "absent"))
    with pytest.raises(InputError, match="directory"):
        list(read_lines(tmp_path))


def test_a_pipe_is_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen([sys.executable, "-c", f"open({str(pipe)!r}, 'wb').write(b'one\\ntwo\\n')"])
    assert list(read_lines(pipe)) == [(1, "one"), (2, "two")]
    assert writer.wait() == 0


def test_writing_makes_folders_and_replaces_the_whole_file(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    for text in ("first and longer\n", "h\u00e9\n"):
        with atomic_writer(path) as stream:
            stream.write(text)
        assert path.read_text(encoding="utf-8") == text
    assert list(path.parent.iterdir()) == [path]


def test_gz_names_are_compressed_with_equal_bytes_for_equal_text(tmp_path):
    for name in ("a.gz", "b.gz"):
        with atomic_writer(tmp_path / name) as stream:
            stream.write("text\n" * 1000)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"text\n" * 1000
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_a_link_stays_a_link_to_the_new_content(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with atomic_writer(link) as stream:
        stream.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.parametrize("name", ["file.txt", "file.txt.gz"])
def test_a_writer_that_raises_leaves_the_old_file(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_writer(path) as stream:
        stream.write("half" * 100_000)
        _ = 1 / 0
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("old", [None, "old"])
def test_a_killed_writer_leaves_the_old_file_or_none(tmp_path, old):
    path = tmp_path / "file.txt"
    if old is not None:
        path.write_text(old)
    program = f"""
import os, signal
from reranker_kd.formats.files import atomic_writer
with atomic_writer({str(path)!r}) as stream:
    stream.write("half" * 1_000_000)
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program])
    assert killed.returncode == -signal.SIGKILL
    assert (path.read_text() if path.exists() else None) == old


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("size", [1, 10_000_000])
def test_a_full_disk_is_an_output_error(size):
    fault = "/dev/full: cannot write: No space left on device"
    with pytest.raises(OutputError, match=fault), atomic_writer("/dev/full") as stream:
        stream.write("x" * size)


def test_a_folder_and_a_file_in_the_way_are_output_errors(tmp_path):
    with pytest.raises(OutputError, match="is a folder"), atomic_writer(tmp_path):
        pass
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"), atomic_writer(tmp_path / "file" / "below"):
        pass


def test_standard_output_is_written_when_it_is_a_pipe():
    program = """
from reranker_kd.formats.files import atomic_writer
with atomic_writer("/dev/stdout") as stream:
    stream.write("text\\n")
"""
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == b"text\n"


def test_sha256_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 100_000)
    assert sha256_of_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
    with pytest.raises(InputError, match="cannot read"):
        sha256_of_file(tmp_path / "absent")
