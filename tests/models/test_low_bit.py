"""Weights of few levels: what is trained computes as what is saved, and what is saved as what is packed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from make_tiny_models import make_cross_encoder, make_transformer
from torch.nn.utils import parametrize

from reranker_kd import load_reranker
from reranker_kd.distill.students import build_student
from reranker_kd.errors import InputError, ModelError, RecipeError
from reranker_kd.export.exporting import ExportSettings, export_model
from reranker_kd.export.torch_folder import write_torch_folder
from reranker_kd.inference.options import REFERENCE
from reranker_kd.models.compact import compact, expanded
from reranker_kd.models.kinds import KINDS
from reranker_kd.models.low_bit import LEVELS, Halves, loss_aware_ternary, ternary

QUERY = "how does heat flow"
TEXTS = ["heat flow over a flat plate", "the dog and the cat", "supersonic shock wave", "tax law court"]
TRANSFORMERS = [name for name in KINDS if name != "bert-bilstm"]


def test_ternary_weights_are_those_of_the_paper():
    # The mean size is 1, so that all below 0.7 is 0; the mean of the others is 1.5.
    weights = torch.tensor([[1.0, -2.0, 0.5, -0.5]])
    assert ternary(weights, by_row=False).tolist() == [[1.5, -1.5, 0.0, 0.0]]
    rows = torch.tensor([[1.0, -2.0, 0.5, -0.5], [10.0, 10.0, -10.0, 10.0]])
    assert ternary(rows, by_row=True).tolist() == [[1.5, -1.5, 0.0, 0.0], [10.0, 10.0, -10.0, 10.0]]


@given(st.integers(0, 99), st.booleans())
def test_loss_aware_weights_are_no_further_from_those_trained(seed, by_row):
    weights = torch.randn(6, 32, generator=torch.Generator().manual_seed(seed)) ** 3
    errors = [(levels(weights, by_row) - weights).square().sum() for levels in (loss_aware_ternary, ternary)]
    # Levels are numbers of float16.
    assert errors[0] <= errors[1] * 1.001


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("by_row", [False, True])
def test_there_are_so_many_levels(name, by_row):
    weights = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    rounded = LEVELS[name](weights, by_row)
    for part in rounded if by_row else [rounded]:
        assert len(part.unique()) == 3
    assert torch.equal(rounded, rounded.half().float())
    assert not LEVELS[name](torch.zeros(2, 4), by_row).any()


@pytest.mark.parametrize("by_row", [False, True])
def test_ternary_weights_are_the_sum_of_their_binary_halves(by_row):
    weights = ternary(torch.randn(8, 64, generator=torch.Generator().manual_seed(0)), by_row)
    halves = Halves(by_row=by_row)
    first, second = halves.right_inverse(weights)
    assert torch.equal(halves(first, second), weights)
    for half in (first, second):
        assert len(half[0].abs().unique()) == 1
    # As they learn apart, the sum has four levels, of which two bits tell.
    merged = halves(first + torch.randn_like(first), second)
    assert len((merged[0] if by_row else merged).unique()) == 4
    small = compact({"merged": merged.repeat(8, 1)}, "ternary")
    assert small["merged"].nbytes == 8 * 8 * 64 // 4
    assert torch.equal(expanded(small)["merged"], merged.repeat(8, 1))


def test_both_halves_learn():
    first, second = (torch.randn(4, 8, requires_grad=True) for _ in range(2))
    (Halves(by_row=False)(first, second) * torch.arange(32.0).view(4, 8)).sum().backward()
    assert torch.equal(first.grad, torch.arange(32.0).view(4, 8)) and torch.equal(first.grad, second.grad)


def _student(folder, kind, weights="ternary"):
    start = make_transformer(folder / "start")
    return build_student(KINDS[kind].shape(start=str(start), max_length=48, weights=weights), seed=0)


def test_the_gradient_passes_through_the_rounding(tmp_path):
    student = _student(tmp_path, "cross-encoder")
    linear = student.encoder.encoder.layer[0].intermediate.dense
    linear(torch.ones(1, 32)).sum().backward()
    assert torch.equal(linear.parametrizations.weight.original.grad, torch.ones(64, 32))


@pytest.mark.parametrize("kind", TRANSFORMERS)
@pytest.mark.parametrize("weights", [*LEVELS, "binary"])
def test_what_is_saved_and_packed_scores_as_what_is_trained(tmp_path, kind, weights):
    student = _student(tmp_path, kind, weights)
    # Heads stay as they are.
    rounded = [module for module in student.network.modules() if parametrize.is_parametrized(module)]
    # Six matrices of each layer, three tables, and the pooler that a cross-encoder has.
    assert len(rounded) == 15 + (kind == "cross-encoder")
    student.save(tmp_path / "student")
    plain = load_reranker(tmp_path / "student", **REFERENCE).score(QUERY, TEXTS)
    # A validation saves the student while it learns: it still can.
    assert sum(parametrize.is_parametrized(module) for module in student.network.modules()) == len(rounded)
    student.save(tmp_path / "later")
    np.testing.assert_array_equal(load_reranker(tmp_path / "later", **REFERENCE).score(QUERY, TEXTS), plain)
    assert plain.std() > 1e-5
    # Trained on, and saved again, the student still computes with rounded weights.
    again = _student(tmp_path, kind, weights)
    again.save(tmp_path / "again")
    np.testing.assert_array_equal(load_reranker(tmp_path / "again", **REFERENCE).score(QUERY, TEXTS), plain)
    (tmp_path / "packed").mkdir()
    write_torch_folder(tmp_path / "student", tmp_path / "packed", "ternary")
    np.testing.assert_array_equal(load_reranker(tmp_path / "packed", **REFERENCE).score(QUERY, TEXTS), plain)


def test_packed_weights_take_two_bits():
    weights = torch.randn(400, 96, generator=torch.Generator().manual_seed(0))
    whole, rows = ternary(weights, by_row=False), ternary(weights, by_row=True)
    small = compact({"whole": whole, "rows": rows, "other": weights}, "ternary")
    assert small["whole"].nbytes == small["rows"].nbytes == 400 * 96 // 4
    assert small["whole.level"].shape == (1, 2) and small["rows.level"].shape == (400, 2)
    assert small["other"].dtype == torch.int8
    back = expanded(small)
    assert torch.equal(back["whole"], whole) and torch.equal(back["rows"], rows)
    assert back.keys() == {"whole", "rows", "other"}


def test_a_model_that_was_not_trained_so_is_not_packed(tmp_path):
    with pytest.raises(ModelError, match=r"no weights of this model are ternary.*student\.weights"):
        compact({"matrix": torch.randn(64, 64)}, "ternary")
    with pytest.raises(RecipeError, match=r"student\.weights: a bert-bilstm has no transformer"):
        _student(tmp_path, "bert-bilstm")


def test_export_packs_what_was_trained_so(tmp_path):
    _student(tmp_path, "cross-encoder").save(tmp_path / "student")
    settings = ExportSettings(format="torch", precision="ternary")
    pairs = [(QUERY, text) for text in TEXTS]
    export_model(tmp_path / "student", tmp_path / "packed", settings, pairs, "a list")
    scores = [load_reranker(tmp_path / name, **REFERENCE).score(QUERY, TEXTS) for name in ("student", "packed")]
    np.testing.assert_array_equal(*scores)
    with pytest.raises(ModelError, match="no weights of this model are ternary"):
        export_model(make_cross_encoder(tmp_path / "float"), tmp_path / "other", settings, pairs, "a list")
    with pytest.raises(InputError, match="ternary is how a torch folder keeps its weights"):
        ExportSettings(format="openvino", precision="ternary")
