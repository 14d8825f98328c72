"""Encoding a collection: resumed and sharded folders are the whole one's bytes, and faults leave nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from make_tiny_twins import make_tiny_twin

from reranker_kd.errors import FormatError, InputError, ModelError
from reranker_kd.inference.options import REFERENCE
from reranker_kd.inference.text_encoder import TextEncoder, load_encoder
from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
from reranker_kd.retrieve.dense.encoding import Encoded, convert_embeddings, encode_collection, survey_collection
from reranker_kd.retrieve.dense.parts import PARTS

WORDS = "heat flow over a flat plate and the dog the cat shock wave river sea".split()


def write_collection(path: Path, count: int = 50, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    with path.open("w") as stream:
        for i in range(count):
            words = random.choice(WORDS, size=random.integers(1, 30))
            stream.write(json.dumps({"id": f"d{i}", "contents": " ".join(words)}) + "\n")
    return path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> TextEncoder:
    return load_encoder(make_tiny_twin(tmp_path_factory.mktemp("twin") / "model"), **REFERENCE)


@pytest.fixture
def collection(tmp_path) -> Path:
    return write_collection(tmp_path / "docs.jsonl")


def _encode(collection, encoder, output, **keywords) -> Encoded:
    return encode_collection(collection, survey_collection(collection), encoder, output, part_size=8, **keywords)


def _files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("index", "docid")}


def test_the_folder_holds_the_encoders_vectors_in_the_collections_order(collection, encoder, tmp_path):
    assert _encode(collection, encoder, tmp_path / "out") == Encoded(50, 0, 0)
    index = EmbeddingIndex(tmp_path / "out")
    texts = [json.loads(line)["contents"] for line in collection.read_text().splitlines()]
    assert index.docids == [f"d{i}" for i in range(50)]
    np.testing.assert_allclose(index.vectors_of(np.arange(50)), encoder.encode_documents(texts), atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["docid", "index", "index.provenance.json"]
    made_by = json.loads((tmp_path / "out" / "index.provenance.json").read_text())
    assert made_by["model"]["sha256"] == encoder.describe()["sha256"]
    assert made_by["counts"] == {"documents": 50, "empty": 0}
    assert 0 < made_by["seconds"]["encode"] < 600


def test_the_same_call_again_finds_everything_done(collection, encoder, tmp_path):
    _encode(collection, encoder, tmp_path / "out")
    before = _files(tmp_path / "out")
    assert _encode(collection, encoder, tmp_path / "out") == Encoded(0, 0, 0)
    assert _files(tmp_path / "out") == before


def test_long_documents_are_counted(encoder, tmp_path):
    (tmp_path / "docs.tsv").write_text(f"a\t{'heat ' * 600}\nb\theat\n")
    assert _encode(tmp_path / "docs.tsv", encoder, tmp_path / "out").cut == 1


def test_empty_documents_get_no_embedding(encoder, tmp_path):
    (tmp_path / "docs.tsv").write_text("a\theat\nb\t\nc\tdog\n")
    survey = survey_collection(tmp_path / "docs.tsv")
    assert survey.documents == 2
    assert survey.empty == (f"{tmp_path / 'docs.tsv'}:2: document 'b'",)
    _encode(tmp_path / "docs.tsv", encoder, tmp_path / "out")
    assert EmbeddingIndex(tmp_path / "out").docids == ["a", "c"]


@pytest.mark.parametrize("stop_after", [1, 17, 33])
def test_an_interrupted_encoding_goes_on(collection, encoder, tmp_path, stop_after):
    class StoppedError(Exception):
        pass

    done = 0

    def stop(count):
        nonlocal done
        done += count
        if done >= stop_after:
            raise StoppedError

    _encode(collection, encoder, tmp_path / "whole")
    with pytest.raises(StoppedError):
        _encode(collection, encoder, tmp_path / "out", on_progress=stop)
    assert not (tmp_path / "out" / "index").exists()
    kept = len(list((tmp_path / "out" / PARTS).glob("*.npy")))
    progress: list[int] = []
    again = _encode(collection, encoder, tmp_path / "out", on_progress=progress.append)
    assert again.documents == 50 - 8 * kept
    assert sum(progress) == 50
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")
    assert not (tmp_path / "out" / PARTS).exists()


@pytest.mark.slow
@pytest.mark.parametrize("index_type", ["Flat", "fp16", "SQ8", "HNSW8", "IVF2,Flat", "PQ4x4"])
def test_killed_without_warning_the_result_is_the_same(encoder, tmp_path, index_type):
    collection = write_collection(tmp_path / "docs.jsonl", 1200)
    command = [sys.executable, "-m", "reranker_kd", "encode", "--collection", str(collection), "--model"]
    command += [str(encoder.folder), "--part-size", "8", "--index-type", index_type, "--output"]
    killed = subprocess.Popen([*command, str(tmp_path / "out")], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob(f"{PARTS}/part-*.npy")):
        assert killed.poll() is None, killed.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "index").exists()
    for output in ("out", "whole"):
        subprocess.run([*command, str(tmp_path / output), "--quiet"], check=True, capture_output=True)
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")
    assert EmbeddingIndex(tmp_path / "out").docids == [f"d{i}" for i in range(1200)]


def test_shards_merge_into_the_same_folder(collection, encoder, tmp_path):
    _encode(collection, encoder, tmp_path / "whole")
    shards = [_encode(collection, encoder, tmp_path / "out", shard=(i, 3)) for i in (2, 0, 1)]
    assert [shard.missing for shard in shards] == [5, 2, 0]
    assert sum(shard.documents for shard in shards) == 50
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_a_call_without_shards_finishes_what_shards_left(collection, encoder, tmp_path):
    _encode(collection, encoder, tmp_path / "whole")
    _encode(collection, encoder, tmp_path / "out", shard=(1, 2))
    assert _encode(collection, encoder, tmp_path / "out").missing == 0
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_other_embeddings_are_not_overwritten_unless_asked(collection, encoder, tmp_path):
    other = write_collection(tmp_path / "other.jsonl", seed=1)
    _encode(collection, encoder, tmp_path / "out")
    before = _files(tmp_path / "out")
    for changes in ({"collection": other}, {"index_type": "SQ8"}):
        with pytest.raises(InputError, match="holds other embeddings already"):
            _encode(**{"collection": collection, "encoder": encoder, "output": tmp_path / "out", **changes})
        assert _files(tmp_path / "out") == before
    _encode(other, encoder, tmp_path / "out", overwrite=True)
    _encode(other, encoder, tmp_path / "fresh")
    assert _files(tmp_path / "out") == _files(tmp_path / "fresh") != before


def test_parts_of_another_encoding_are_not_mixed_in(collection, encoder, tmp_path):
    other = write_collection(tmp_path / "other.jsonl", seed=1)
    _encode(collection, encoder, tmp_path / "out", shard=(0, 2))
    with pytest.raises(InputError, match=r"an encoding with collection .* was begun here"):
        _encode(other, encoder, tmp_path / "out")
    _encode(other, encoder, tmp_path / "out", overwrite=True)
    _encode(other, encoder, tmp_path / "fresh")
    assert _files(tmp_path / "out") == _files(tmp_path / "fresh")


def test_a_broken_part_is_named(collection, encoder, tmp_path):
    _encode(collection, encoder, tmp_path / "out", shard=(0, 2))
    part = next((tmp_path / "out" / PARTS).glob("*.npy"))
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(InputError, match=rf"{part.name}: cannot be read"):
        _encode(collection, encoder, tmp_path / "out")
    assert not (tmp_path / "out" / "index").exists()


def test_an_embedding_that_is_not_finite_is_named(collection, encoder, tmp_path, monkeypatch):
    embed = encoder.embed_documents

    def broken(tokens, on_progress):
        vectors = embed(tokens, on_progress).copy()
        vectors[3, 5] = np.nan
        return vectors

    monkeypatch.setattr(encoder, "embed_documents", broken)
    with pytest.raises(ModelError, match="NaN or infinity in the embedding of document d3"):
        _encode(collection, encoder, tmp_path / "out")
    assert not list((tmp_path / "out" / PARTS).glob("*.npy"))


def test_who_waits_for_another_shard_leaves_its_folder_as_it_is(collection, encoder, tmp_path):
    output = tmp_path / "out"
    _encode(collection, encoder, output, shard=(0, 2))
    with ThreadPoolExecutor() as pool:
        with FileLock(output / ".lock"):
            waiting = pool.submit(_encode, collection, encoder, output, shard=(1, 2))
            while len(list((output / PARTS).glob("*.npy"))) < 7:
                time.sleep(0.01)
            # As the other leaves it.
            shutil.rmtree(output / PARTS)
            (output / "index").write_text("the other's")
        assert waiting.result().missing == 0
    assert [path.name for path in output.iterdir()] == ["index"]
    assert (output / "index").read_text() == "the other's"


@pytest.mark.parametrize(
    ("content", "fault"),
    [("", "no documents"), ("a\t\nb\t \n", "none of its 2 documents has a text"), ("a\tx\na\ty\n", ":2: docid a")],
)
def test_bad_collections_are_found_before_anything_is_written(encoder, tmp_path, content, fault):
    (tmp_path / "docs.tsv").write_text(content)
    with pytest.raises((InputError, FormatError), match=fault):
        _encode(tmp_path / "docs.tsv", encoder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("index_type", ["Flatt", "PQ7"])
def test_index_types_that_cannot_be_are_refused_before_encoding(collection, encoder, tmp_path, index_type):
    with pytest.raises(InputError, match=index_type):
        _encode(collection, encoder, tmp_path / "out", index_type=index_type)
    assert not (tmp_path / "out").exists()


def test_converted_embeddings_equal_encoded_ones(collection, encoder, tmp_path):
    _encode(collection, encoder, tmp_path / "flat")
    _encode(collection, encoder, tmp_path / "sq8", index_type="SQ8")
    convert_embeddings(EmbeddingIndex(tmp_path / "flat"), tmp_path / "out", "SQ8")
    assert _files(tmp_path / "out") == _files(tmp_path / "sq8")
    made_by, source = (json.loads((tmp_path / name / "index.provenance.json").read_text()) for name in ("out", "flat"))
    assert made_by["model"]["sha256"] == encoder.describe()["sha256"]
    assert made_by["seconds"] == source["seconds"]
    with pytest.raises(InputError, match="holds embeddings already"):
        convert_embeddings(EmbeddingIndex(tmp_path / "flat"), tmp_path / "out", "SQ8")
    with pytest.raises(InputError, match="the folder that the vectors come from"):
        convert_embeddings(EmbeddingIndex(tmp_path / "flat"), tmp_path / "flat", "SQ8", overwrite=True)
