"""Opening text files, gzipped or not, and writing files that are whole or absent."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import secrets
import shutil
import zlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from reranker_kd.errors import FormatError, InputError, OutputError
from reranker_kd.formats.parsing import Report, raise_fault

GZIP_MAGIC = b"\x1f\x8b"


def read_lines(path: str | Path, report: Report = raise_fault) -> Generator[tuple[int, str], None, None]:
    """Yield (line number from 1, line without its line break) of a UTF-8 text file, gzipped or not.

    A caller that may stop before the end wraps it into ``contextlib.closing``, which closes the file.

    Compression is detected from the content, not from the name. A byte order mark is dropped.

    :param report: called with each fault; when it returns, the faulty line is left out
    :raises InputError: no such file, or it cannot be opened
    :raises FormatError: a line is not UTF-8, or the gzip stream is broken
    """
    number = 0
    try:
        with Path(path).open("rb") as stream:
            # Peeking, unlike seeking, works on a pipe. Buffered, since GzipFile itself finds line breaks slowly.
            zipped = stream.peek(2)[:2] == GZIP_MAGIC
            for raw in io.BufferedReader(gzip.GzipFile(fileobj=stream)) if zipped else stream:
                number += 1
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    fault = f"expected UTF-8 text, got byte 0x{raw[error.start]:02x} at column {error.start + 1}"
                    report(FormatError(path, number, fault))
                    continue
                yield number, line.rstrip("\r\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        report(FormatError(path, number + 1, f"broken gzip stream ({error}); fetch the file again"))
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror or error}") from None


@contextmanager
def atomic_writer(path: str | Path) -> Iterator[IO[str]]:
    """Open a UTF-8 text file for writing as :func:`atomic_binary_writer` does.

    A name that ends in ``.gz`` is compressed, with the same bytes for the same text.

    :raises OutputError: the folder cannot be written, or the disk is full
    """
    with ExitStack() as stack:
        binary = stack.enter_context(atomic_binary_writer(path))
        if Path(path).suffix == ".gz":
            # No file name and no time stamp inside, so that equal texts give equal files.
            zipped = gzip.GzipFile(filename="", fileobj=binary, mode="wb", mtime=0)
            binary = stack.enter_context(zipped)  # type: ignore[assignment]
        stream = io.TextIOWrapper(binary, encoding="utf-8", newline="\n")
        # The binary stream is closed by who opened it; after a failed flush there is nothing to save.
        stack.callback(_detach, stream)
        yield stream
        stream.flush()


def _detach(stream: io.TextIOWrapper) -> None:
    with suppress(OSError, ValueError):
        stream.detach()


@contextmanager
def atomic_binary_writer(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing so that ``path`` holds the old content or the new one, never half.

    The bytes go to a temporary file in the same folder, which replaces ``path`` when the block ends without an error
    and is removed otherwise. Missing parent folders are made. A device or pipe (``/dev/stdout``) is written as it
    comes.

    :raises OutputError: the folder cannot be written, or the disk is full
    """
    try:
        named = Path(path)
        if named.is_dir():
            raise OutputError(f"{path}: is a folder; name a file")
        # Checked before links are followed: /dev/stdout resolves to a name that cannot be opened when it is a pipe.
        if named.exists() and not named.is_file():
            with named.open("wb") as device:
                yield device
            return
        target = Path(os.path.realpath(named))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            with temporary.open("xb") as binary:
                yield binary
                binary.flush()
                os.fsync(binary.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {error.strerror or error}; the file is as it was") from error


@contextmanager
def atomic_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder that takes the place of ``target`` when the block ends without an error, and is removed else.

    :param overwrite: remove what is there; without it, ``target`` must be absent or empty
    :raises OutputError: the folder cannot be written, or the disk is full
    """
    building = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        building.mkdir(parents=True)
        yield building
        if overwrite and target.exists():
            shutil.rmtree(target)
        building.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot write: {error.strerror or error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a NumPy file that is whole or absent; missing parent folders are made.

    :raises OutputError: the folder cannot be written, or the disk is full
    """
    with atomic_binary_writer(path) as binary:
        np.save(binary, array, allow_pickle=False)


def sha256_of_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal.

    :raises InputError: it cannot be read
    """
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror or error}") from None
