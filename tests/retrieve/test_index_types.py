"""Names of index types: what faiss takes is taken, what would fail later is refused at once."""

from __future__ import annotations

import faiss
import pytest

from reranker_kd.errors import InputError
from reranker_kd.retrieve.dense.index_types import layers, openmp_threads, resolve_index_type


@pytest.mark.parametrize(
    ("name", "factory"),
    [
        ("flat", "Flat"),
        ("fp16", "SQfp16"),
        ("FP16", "SQfp16"),
        ("sq8", "SQ8"),
        ("sqFP16", "SQfp16"),
        ("HNSW", "HNSW32"),
        ("hnsw, fp16", "HNSW32,SQfp16"),
        ("hnsw16,sq8", "HNSW16,SQ8"),
        ("ivf256,flat", "IVF256,Flat"),
        ("opq48,pq48", "OPQ48,PQ48"),
    ],
)
def test_other_spellings(name, factory):
    assert resolve_index_type(name, 384) == factory


FACTORY_STRINGS = [
    *["Flat", "SQ8", "SQ4", "SQfp16", "SQbf16", "SQ8_direct", "PQ48", "PQ48x4fs", "HNSW32", "HNSW32,SQ8"],
    *["HNSW10", "IVF256,Flat", "IVF256,PQ48", "IVF1024_HNSW32,SQ8", "OPQ48,PQ48", "OPQ48_192,IVF16,PQ48x4fsr"],
    *["PCA64,Flat", "SQ8,RFlat", "RaBitQ"],
]


@pytest.mark.parametrize("name", FACTORY_STRINGS)
def test_factory_strings_of_faiss_are_left_as_they_are(name):
    assert resolve_index_type(name, 384) == name


@pytest.mark.parametrize(
    ("name", "dimension", "reason"),
    [
        ("", 384, "could not parse"),
        ("flatt", 384, "could not parse"),
        ("PQ", 384, "could not parse"),
        ("Lucene", 384, "could not parse"),
        ("PQ7", 384, "multiple of the number of subquantizers"),
        ("PQ48", 100, "multiple of the number of subquantizers"),
        ("IVF0,Flat", 384, "at least 1 list"),
        ("HNSW1", 384, "at least 2 links"),
        ("IVF16_HNSW0,Flat", 384, "at least 2 links"),
        ("NSG32", 384, "part by part"),
        ("IDMap,Flat", 384, "only number"),
        ("HNSW32_PQ48", 384, "L2"),
        ("ITQ,LSH", 384, "METRIC_L2"),
    ],
)
def test_what_does_not_work_is_refused(name, dimension, reason):
    with pytest.raises(InputError, match=reason) as caught:
        resolve_index_type(name, dimension)
    message = str(caught.value)
    assert message.startswith(f"index type {name!r} does not work for vectors of {dimension} dimensions (")
    assert "\n" not in message
    assert ".cpp" not in message


@pytest.mark.parametrize("dimension", [384, 768, 100, 97])
def test_the_examples_of_the_error_work(dimension):
    with pytest.raises(InputError) as caught:
        resolve_index_type("?", dimension)
    examples = str(caught.value).split("give ")[1].split(" (the number")[0].split(", ")
    assert len(examples) == 6
    for example in examples:
        resolve_index_type(example, dimension)


def test_layers_from_the_outside_to_the_codes():
    index = faiss.index_factory(8, "PCA4,IVF2,PQ2,RFlat", faiss.METRIC_INNER_PRODUCT)
    assert [type(layer).__name__ for layer in layers(index)] == ["IndexRefineFlat", "IndexPreTransform", "IndexIVFPQ"]
    graph = faiss.index_factory(8, "HNSW4,SQ8", faiss.METRIC_INNER_PRODUCT)
    assert [type(layer).__name__ for layer in layers(graph)] == ["IndexHNSWSQ", "IndexScalarQuantizer"]


def test_the_number_of_threads_is_put_back_after_an_error():
    before = faiss.omp_get_max_threads()
    with pytest.raises(KeyError), openmp_threads(before + 1):
        assert faiss.omp_get_max_threads() == before + 1
        raise KeyError
    assert faiss.omp_get_max_threads() == before
