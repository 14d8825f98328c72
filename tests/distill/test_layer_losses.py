"""Every loss of layers equals a naive loop over its equation; padding, even NaN, bears on nothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reranker_kd.distill.objectives.layer_losses import (
    attention_loss,
    hidden_loss,
    layer_mapping,
    relation_kl,
)
from reranker_kd.distill.objectives.layer_losses import relations as relations_of
from reranker_kd.distill.objectives.recording import LAYERS
from reranker_kd.distill.objectives.registry import LOSSES
from reranker_kd.errors import InputError

LAYER_LOSSES = {name: loss.function for name, loss in LOSSES.items() if loss.reads[0] in LAYERS}

OF_HIDDEN_STATES = ("embedding", "hidden")
OF_RELATIONS = ("attention", "relation_kl")


def _layers(name, texts, tokens, seed, dtype=torch.float32):
    """Return student, teacher and token mask, of 3 heads or a width of 3."""
    generator = torch.Generator().manual_seed(seed)
    shape = (texts, tokens, 3) if name in OF_HIDDEN_STATES else (texts, 3, tokens, tokens)
    student, teacher = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    return student, teacher, torch.rand((texts, tokens), generator=generator) < 0.7


def _mean(losses):
    return sum(losses) / len(losses) if losses else 0.0


def _naive_hidden(student, teacher, token_mask):
    losses = []
    for text, token in token_mask.nonzero().tolist():
        ours, theirs = student[text, token].tolist(), teacher[text, token].tolist()
        losses += [(s - t) ** 2 for s, t in zip(ours, theirs, strict=True)]
    return _mean(losses)


def _naive_attention(student, teacher, token_mask):
    losses = []
    for text, head in ((text, head) for text in range(student.shape[0]) for head in range(student.shape[1])):
        tokens = token_mask[text].nonzero()[:, 0].tolist()
        losses += [
            (student[text, head, i, j].item() - teacher[text, head, i, j].item()) ** 2 for i in tokens for j in tokens
        ]
    return _mean(losses)


def _softmax(scores):
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def _naive_relation_kl(student, teacher, token_mask):
    losses = []
    for text, head in ((text, head) for text in range(student.shape[0]) for head in range(student.shape[1])):
        tokens = token_mask[text].nonzero()[:, 0].tolist()
        for i in tokens:
            ours, theirs = (_softmax([of[text, head, i, j].item() for j in tokens]) for of in (student, teacher))
            losses.append(sum(t * math.log(t / s) for s, t in zip(ours, theirs, strict=True)))
    return _mean(losses)


NAIVE = {
    "embedding": _naive_hidden,
    "hidden": _naive_hidden,
    "attention": _naive_attention,
    "relation_kl": _naive_relation_kl,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LAYER_LOSSES)
@settings(max_examples=20)
@given(texts=st.integers(1, 3), tokens=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_equals_the_naive_loop(name, dtype, texts, tokens, seed):
    layers = _layers(name, texts, tokens, seed, dtype)
    loss = LAYER_LOSSES[name](*layers)
    assert loss.dtype == torch.float32
    # The naive loop reads what bfloat16 holds, so that its tolerance is that of arithmetic in float32.
    assert loss.item() == pytest.approx(NAIVE[name](*layers), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("junk", [torch.nan, -torch.inf, 1e30])
@pytest.mark.parametrize("name", LAYER_LOSSES)
def test_padding_bears_on_neither_loss_nor_gradient(name, junk, dtype):
    student, teacher, token_mask = _layers(name, 4, 5, 1, dtype)
    token_mask[0] = False
    clean = LAYER_LOSSES[name](student, teacher, token_mask)
    valid = token_mask[:, :, None].expand_as(student) if name in OF_HIDDEN_STATES else _pairs(token_mask, student)
    student, teacher = (values.masked_fill(~valid, junk) for values in (student, teacher))
    student.requires_grad_()
    loss = LAYER_LOSSES[name](student, teacher, token_mask)
    # Raises where a NaN arises on the way, though it is masked later.
    with torch.autograd.set_detect_anomaly(True):
        loss.backward()
    assert loss.item() == clean.item() > 0
    assert student.grad.isfinite().all()
    assert (student.grad[~valid] == 0).all()
    assert student.grad[valid].count_nonzero() > 0


def _pairs(token_mask, of):
    return (token_mask[:, None, :, None] & token_mask[:, None, None, :]).expand_as(of)


@pytest.mark.parametrize("name", LAYER_LOSSES)
def test_zero_of_nothing_and_where_both_agree(name):
    student, teacher, token_mask = _layers(name, 2, 4, 0)
    assert LAYER_LOSSES[name](student, teacher, torch.zeros_like(token_mask)).item() == 0
    assert LAYER_LOSSES[name](teacher, teacher, token_mask).item() == pytest.approx(0, abs=1e-7)
    assert LAYER_LOSSES[name](student, teacher, token_mask).item() > 0.1


def test_projection_by_hand():
    # W_h takes (x, y) to (x, y, x + y); the second token is padding.
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    student = torch.tensor([[[1.0, 2.0], [torch.nan, torch.nan]]])
    teacher = torch.tensor([[[1.0, 0.0, 0.0], [torch.nan, torch.nan, torch.nan]]])
    token_mask = torch.tensor([[True, False]])
    projection = torch.nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        projection.weight.copy_(weight)
    loss = hidden_loss(student, teacher, token_mask, projection)
    loss.backward()
    assert loss.item() == pytest.approx((0 + 2**2 + 3**2) / 3)
    # 2 / 3 of the difference (0, 2, 3), times the student's (1, 2).
    expected = torch.tensor([[0.0, 0.0], [4 / 3, 8 / 3], [2.0, 4.0]])
    torch.testing.assert_close(projection.weight.grad, expected)


def test_attention_by_hand():
    # One head, tokens 0 and 2: squares of 1, 2, 3, 4 remain.
    difference = torch.tensor([[1.0, 9.0, 2.0], [9.0, 9.0, 9.0], [3.0, 9.0, 4.0]])[None, None]
    token_mask = torch.tensor([[True, False, True]])
    assert attention_loss(difference, torch.zeros_like(difference), token_mask).item() == pytest.approx(30 / 4)


def test_relations_by_hand():
    # Two attention heads of width 1 at two tokens: (1, 2) and (3, 4).
    vectors = torch.tensor([[[[1.0], [3.0]], [[2.0], [4.0]]]])
    by_head = relations_of(vectors, heads=2)
    torch.testing.assert_close(by_head, torch.tensor([[[[1.0, 3.0], [3.0, 9.0]], [[4.0, 8.0], [8.0, 16.0]]]]))
    # Joined: inner products 5, 11, 25 over the root of 2.
    torch.testing.assert_close(relations_of(vectors, heads=1), torch.tensor([[[[5.0, 11.0], [11.0, 25.0]]]]) / 2**0.5)


def test_relations_agree_across_head_counts_and_widths():
    generator = torch.Generator().manual_seed(0)
    token_mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    student = torch.randn((2, 2, 4, 6), generator=generator, requires_grad=True)
    teacher = torch.randn((2, 4, 4, 8), generator=generator)
    loss = relation_kl(relations_of(student, 4), relations_of(teacher, 4), token_mask)
    loss.backward()
    assert loss.item() > 0
    assert (student.grad.transpose(1, 2)[~token_mask] == 0).all()
    assert (student.grad.transpose(1, 2)[token_mask] != 0).any()


def test_relations_stay_in_float32_under_mixed_precision():
    vectors = torch.randn((1, 2, 3, 8), generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = relations_of(vectors, 2)
    torch.testing.assert_close(mixed, relations_of(vectors, 2), rtol=0, atol=0)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), shift=st.floats(-20, 20))
def test_relation_kl_reads_differences_within_a_row(seed, shift):
    student, teacher, token_mask = _layers("relation_kl", 2, 4, seed, torch.float64)
    by_row = shift * torch.arange(4)[:, None]
    shifted = relation_kl(student - by_row, teacher + by_row, token_mask)
    torch.testing.assert_close(shifted, relation_kl(student, teacher, token_mask))


def test_layers_that_do_not_fit_are_refused():
    token_mask = torch.ones((2, 4), dtype=torch.bool)
    states = torch.zeros(2, 4, 3)
    scores = torch.zeros(2, 3, 4, 4)
    with pytest.raises(InputError, match="3 wide in the student and 5 in the teacher: give a projection"):
        hidden_loss(states, torch.zeros(2, 4, 5), token_mask)
    with pytest.raises(InputError, match=r"student has 3 heads, the teacher 2: .* relation_kl"):
        attention_loss(scores, scores[:, :2], token_mask)
    for name in OF_HIDDEN_STATES:
        with pytest.raises(InputError, match=r"teacher has shape \(2, 3, 3\), the token mask \(2, 4\)"):
            LAYER_LOSSES[name](states, states[:, :3], token_mask)
    for name in OF_RELATIONS:
        with pytest.raises(InputError, match=r"teacher has shape \(2, 3, 4, 3\), the token mask \(2, 4\)"):
            LAYER_LOSSES[name](scores, scores[..., :3], token_mask)
    for name in LAYER_LOSSES:
        student = states if name in OF_HIDDEN_STATES else scores
        with pytest.raises(InputError, match=r"student has shape \(2, 4\)"):
            LAYER_LOSSES[name](student[..., 0] if student.ndim == 3 else student[:, 0, 0], student, token_mask)
        with pytest.raises(InputError, match=r"token_mask is torch.int64 .*give torch.bool"):
            LAYER_LOSSES[name](student, student, token_mask.long())
    with pytest.raises(InputError, match="2 attention heads of width 3 cannot be split into 4 relation heads"):
        relations_of(torch.zeros(1, 2, 4, 3), heads=4)
    with pytest.raises(InputError, match=r"vectors have shape \(2, 4, 3\)"):
        relations_of(states, heads=1)


@pytest.mark.parametrize(
    ("student", "teacher", "strategy", "expected"),
    [
        # TinyBERT's two students of BERT-base: g(m) = 3m and g(m) = 2m.
        (4, 12, "uniform", (3, 6, 9, 12)),
        (6, 12, "uniform", (2, 4, 6, 8, 10, 12)),
        (12, 12, "uniform", tuple(range(1, 13))),
        (1, 6, "uniform", (6,)),
        (4, 12, "last", (9, 10, 11, 12)),
        (5, 12, "last", (8, 9, 10, 11, 12)),
        (3, 12, [1, 6, 12], (1, 6, 12)),
    ],
)
def test_layer_mappings(student, teacher, strategy, expected):
    assert layer_mapping(student, teacher, strategy) == expected


@pytest.mark.parametrize(
    ("student", "teacher", "strategy", "message"),
    [
        (5, 12, "uniform", "5 student layers cannot be mapped to 12 teacher layers uniformly"),
        (8, 6, "last", "8 student layers cannot be mapped to 6 teacher layers: take a student of 1 to 6"),
        (0, 6, "uniform", "0 student layers"),
        (2, 6, (3,), r"2 student layers cannot be mapped to 6 teacher layers by \[3\]: give 2 numbers from 1 to 6"),
        (2, 6, (0, 3), "give 2 numbers from 1 to 6"),
        (2, 6, (3, 7), "give 2 numbers from 1 to 6"),
        (2, 6, "first", "unknown layer mapping 'first'"),
    ],
)
def test_layers_that_cannot_be_mapped(student, teacher, strategy, message):
    with pytest.raises(InputError, match=message):
        layer_mapping(student, teacher, strategy)
