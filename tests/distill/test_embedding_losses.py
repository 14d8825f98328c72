"""Losses over embeddings against loops, and a twin that learns its teacher's embeddings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from make_tiny_twins import make_tiny_twin
from torch.nn.functional import normalize

from reranker_kd.distill.data.transfer_set import Group, TransferSet
from reranker_kd.distill.objectives.losses import text_embedding, text_similarity
from reranker_kd.distill.teachers.model import ModelSettings, embed_texts, encoder_of
from reranker_kd.errors import InputError
from reranker_kd.inference.options import REFERENCE
from reranker_kd.inference.text_encoder import load_encoder


def _unit(rows, width, seed, dtype=torch.float32):
    torch.manual_seed(seed)
    return normalize(torch.randn(rows, width), dim=1).to(dtype)


def _similarity_by_loop(student, teacher, temperature):
    total = 0.0
    count = len(student)
    for i in range(count):
        others = [j for j in range(count) if j != i]
        ours, theirs = (
            [math.exp(float(rows[i].double() @ rows[j].double()) / temperature) for j in others]
            for rows in (student, teacher)
        )
        ours, theirs = [o / sum(ours) for o in ours], [t / sum(theirs) for t in theirs]
        total += sum(t * math.log(t / o) for t, o in zip(theirs, ours, strict=True))
    return total / count


@given(
    rows=st.integers(3, 9), width=st.integers(2, 6), seed=st.integers(0, 99), temperature=st.sampled_from([0.1, 1.0])
)
def test_similarity_equals_a_loop(rows, width, seed, temperature):
    student, teacher = _unit(rows, width, seed), _unit(rows, width + 1, seed + 100)
    found = float(text_similarity(student, teacher, temperature=temperature))
    assert found == pytest.approx(_similarity_by_loop(student, teacher, temperature), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embedding_is_the_mean_squared_distance(dtype):
    student, teacher = _unit(5, 8, 0, dtype), _unit(5, 8, 1)
    by_loop = np.mean([float(((s.double() - t.double()) ** 2).sum()) for s, t in zip(student, teacher, strict=True)])
    found = text_embedding(student, teacher)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(by_loop, rel=1e-5)


def test_equal_embeddings_cost_nothing_and_gradients_are_finite():
    teacher = _unit(6, 8, 1)
    student = teacher.clone().requires_grad_()
    loss = text_embedding(student, teacher) + text_similarity(student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-5)
    assert torch.isfinite(student.grad).all()


def test_a_projection_bridges_widths():
    student, teacher = _unit(6, 4, 0), _unit(6, 8, 1)
    projection = torch.nn.Linear(4, 8, bias=False)
    projected = normalize(projection(student), dim=1)
    expected = (projected - teacher).square().sum(1).mean().item()
    assert text_embedding(student, teacher, projection).item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InputError, match="give a projection"):
        text_embedding(student, teacher)


def test_a_temperature_must_be_above_0():
    with pytest.raises(InputError, match="temperature is 0"):
        text_similarity(_unit(3, 2, 0), _unit(3, 2, 1), temperature=0)


def test_embeddings_of_a_teacher_are_kept(tmp_path):
    folder = make_tiny_twin(tmp_path / "teacher", towers="separate")
    texts = TransferSet({"q": "heat flow"}, {"a": "a flat plate", "b": "the dog"}, (Group("q", ("a", "b")),))
    encoder = load_encoder(folder, **REFERENCE)
    settings = ModelSettings(model=str(folder), **REFERENCE)
    first = embed_texts(encoder_of(settings), texts, tmp_path / "cache", quiet=True)
    np.testing.assert_allclose(first[0], encoder.encode_queries(["heat flow"])[0], atol=1e-6)
    np.testing.assert_allclose(first[1:], encoder.encode_documents(["a flat plate", "the dog"]), atol=1e-6)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert len(kept) == 2
    again = embed_texts(encoder_of(settings), texts, tmp_path / "cache", quiet=True)
    np.testing.assert_array_equal(first, again)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
