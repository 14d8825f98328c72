"""A measure that an installed package adds is found, validated and used, by evaluate, compare and a validation."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from reranker_kd.compare.compare import compare
from reranker_kd.errors import InputError
from reranker_kd.evaluate.evaluation import evaluate
from reranker_kd.evaluate.measures import parse_measure
from reranker_kd.evaluate.registry import MEASURES

MODULE = """
from reranker_kd.evaluate.registry import MeasureEntry

calls = []

def rank_biased_precision(ranks, cutoff):
    calls.append(cutoff)
    relevant = ranks.relevant()
    return relevant.summed(0.2 * 0.8 ** (relevant.rank - 1))

RBP = MeasureEntry(rank_biased_precision, "optional")
"""
QRELS = {"1": {"a": 1, "c": 2}, "2": {"b": 1}}
RUN = {"1": {"a": 3.0, "b": 2.0, "c": 1.0}}


@pytest.fixture
def calls(tmp_path, monkeypatch) -> list:
    """The calls of a measure of a package that is installed while the test runs."""
    (tmp_path / "some_measures.py").write_text(MODULE)
    metadata = tmp_path / "some_measures-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: some-measures\nVersion: 1.0\n")
    points = "[reranker_kd.measures]\nRBP = some_measures:RBP\nBroken = some_measures:absent\n"
    (metadata / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_measures", raising=False)
    import some_measures

    return some_measures.calls


def test_it_is_found_validated_and_called(calls):
    assert "RBP" in MEASURES
    figures = evaluate(RUN, QRELS, ["rbp", "RBP@2", "AP"])
    assert figures.per_query["rbp"] == {"1": pytest.approx(0.2 + 0.2 * 0.64), "2": 0}
    assert figures.per_query["RBP@2"] == {"1": pytest.approx(0.2), "2": 0}
    assert calls == [None, 2]
    with pytest.raises(InputError, match="whole numbers from 1"):
        parse_measure("RBP@0")
    with pytest.raises(InputError, match="did you mean RBP@10"):
        parse_measure("RBPP@10")


def test_it_is_compared(calls):
    comparison = compare({"one": RUN, "other": {"2": {"b": 1.0}}}, QRELS, ["RBP@2"], resamples=100)
    assert comparison.system("other").differences["RBP@2"].mean == pytest.approx(np.mean([-0.2, 0.2]))
    # Each run's figures, and those of its documents in their best order.
    assert calls == [2] * 4


def test_a_package_that_does_not_load_is_named(calls):
    with pytest.raises(InputError, match=r"measure Broken: the package that adds it \(some_measures:absent\)"):
        parse_measure("Broken")


def test_it_is_gone_with_its_package():
    with pytest.raises(InputError, match="unknown measure 'RBP'"):
        parse_measure("RBP")
