"""Which kinds of FAISS index there are, and what one is made of.

The names are those of faiss's index factory: https://github.com/facebookresearch/faiss/wiki/The-index-factory
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import gcd

import faiss

from reranker_kd.errors import InputError

_ANY_CASE = ("Flat", "SQ", "HNSW", "IVF", "OPQ", "PQ")

# What faiss makes without complaint, and then hangs on, crashes on or refuses once there are vectors.
_REFUSED = {
    r"HNSW[01](?!\d)": "a graph needs at least 2 links a vector",
    r"IVF0(?!\d)": "it takes at least 1 list",
    r"NSG": "its graph cannot be built part by part",
    r"IDMap": "a row of the docid file is a vector's only number",
}


def resolve_index_type(name: str, dimension: int) -> str:
    """Return the factory string of an index for inner products, after really making the empty index.

    Any string of faiss's index factory is taken, and besides it ``fp16`` for ``SQfp16``, ``HNSW`` for ``HNSW32``,
    and Flat, SQ, HNSW, IVF, OPQ and PQ in any case. ``PQ48np`` trains many times faster than ``PQ48``, which also
    prepares for polysemous search; both find the same.

    :param name: such as ``Flat``, ``SQ8``, ``hnsw32,sq8``, ``IVF256,PQ48``
    :param dimension: numbers in a vector
    :raises InputError: faiss knows no such type, or it does not fit vectors of this dimension
    """
    factory = ",".join(_respelled(component.strip()) for component in name.split(","))
    fault = next((fault for pattern, fault in _REFUSED.items() if re.search(pattern, factory)), None)
    if fault is None:
        fault = _fault_of_empty_index(factory, dimension)
    if fault is None:
        return factory
    raise InputError(
        f"index type {name!r} does not work for vectors of {dimension} dimensions ({fault}): give Flat, SQ8, fp16, "
        f"HNSW32, IVF256,Flat, PQ{gcd(dimension, 48)} (the number divides the dimension), "
        f"or another factory string of faiss"
    )


def _respelled(component: str) -> str:
    """Return one component of a factory string as faiss spells it."""
    for kind in _ANY_CASE:
        if component.lower().startswith(kind.lower()):
            rest = component[len(kind) :]
            component = kind + (rest.lower() if kind == "SQ" else rest)
    return {"fp16": "SQfp16", "FP16": "SQfp16", "HNSW": "HNSW32"}.get(component, component)


def _fault_of_empty_index(factory: str, dimension: int) -> str | None:
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, MemoryError) as error:
        return faiss_reason(error)
    # Some types do not pass the metric on, such as HNSW32_PQ48.
    return None if index.metric_type == faiss.METRIC_INNER_PRODUCT else "faiss makes it for L2 distances alone"


def faiss_reason(error: Exception) -> str:
    """Return what a faiss error says, in one line and without the names of its own functions and files."""
    return " ".join(str(error).rsplit(": ", 1)[-1].split()) or type(error).__name__


def layers(index: faiss.Index) -> Iterator[faiss.Index]:
    """Yield an index and what it wraps, outermost first: transforms, identifiers, refinement, the codes of a graph."""
    found: faiss.Index | None = index
    while found is not None:
        layer = faiss.downcast_index(found)
        yield layer
        inner = (getattr(layer, name, None) for name in ("index", "base_index", "storage"))
        found = next((part for part in inner if part is not None), None)


@contextmanager
def openmp_threads(count: int | None) -> Iterator[None]:
    """Let faiss, and its BLAS, run on so many threads within the block; None leaves the number as it is."""
    before = faiss.omp_get_max_threads()
    if count is not None:
        faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
