"""Queries that the page offers: the sample's own, and only over the sample."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from reranker_kd.serve.service import sample_queries

SECOND = "make every training run draw the same random numbers"
THIRD = "my gradients explode, how do I keep their size bounded"


@pytest.mark.parametrize(("count", "expected"), [(1, [SECOND]), (2, [SECOND, THIRD]), (3, [SECOND, THIRD])])
def test_topics_that_the_index_answers(count, expected):
    # Right for the second and the third topic; the last one is judged, and not relevant.
    held = {"torch.manual_seed", "torch.nn.utils.clip_grad_norm_", "networkx.algorithms.flow.build_residual_network"}
    assert sample_queries(SimpleNamespace(known=held.intersection), count) == expected


def test_another_collection_has_none(served_index):
    assert sample_queries(served_index) == []
