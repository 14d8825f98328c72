"""What is left of a transformer that is made smaller is what it claims to be."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    ElectraConfig,
    ElectraModel,
    RobertaConfig,
    RobertaModel,
)

from reranker_kd.errors import RecipeError
from reranker_kd.models.kind import TransformerShape
from reranker_kd.models.shrinking import new_transformer, shrunk
from reranker_kd.models.shrinking import shape_from as complete_shape

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 16,
    "initializer_range": 0.3,
}
IDS = torch.tensor([[2, 7, 30, 8, 41, 3], [2, 50, 9, 3, 0, 0]])
MASK = (IDS > 0).long()
TYPES = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]])


def bert(layers=2, *, kind=BertModel, config=BertConfig, **settings):
    """Return a transformer of which no vector, a bias or a gain either, is what every new one has."""
    torch.manual_seed(0)
    network = kind(config(**{**SIZES, "num_hidden_layers": layers, **settings})).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    network.pooler = None
    return network


def shape_from(config, **settings):
    return complete_shape(config, TransformerShape(kind="any", **settings))


def made(large, **settings):
    return shrunk(large, shape_from(large.config, **settings)).eval()


@torch.no_grad()
def run(network, ids=IDS, **inputs):
    inputs = inputs or {"token_type_ids": TYPES}
    return network(input_ids=ids, attention_mask=MASK, **inputs).last_hidden_state[MASK.bool()]


def test_all_layers_at_full_width_are_the_same_network():
    large = bert()
    small = made(large)
    assert torch.equal(run(small), run(large))
    assert type(small) is BertModel and small.pooler is None


@pytest.mark.parametrize("groups", [1, 2])
def test_an_albert_becomes_the_same_network_whose_layers_are_apart(groups):
    large = bert(4, kind=AlbertModel, config=AlbertConfig, embedding_size=8, num_hidden_groups=groups)
    small = made(large)
    torch.testing.assert_close(run(small), run(large), atol=1e-5, rtol=1e-5)
    assert type(small) is ElectraModel
    queries = [layer.attention.self.query.weight for layer in small.encoder.layer]
    assert torch.equal(queries[0], queries[1]) and queries[0].data_ptr() != queries[1].data_ptr()
    assert torch.equal(queries[0], queries[2]) == (groups == 1)


@pytest.mark.parametrize("settings", [{"inner_group_num": 2}, {"embedding_size": 32}])
def test_an_albert_of_another_build_is_refused(settings):
    with pytest.raises(RecipeError, match=r"student\.start: an ALBERT with"):
        made(bert(kind=AlbertModel, config=AlbertConfig, **{"embedding_size": 8, **settings}))


@pytest.mark.parametrize("layers", [(1,), (2, 5), (3, 4, 6)])
def test_chosen_layers_are_those_of_the_larger_one(layers):
    large = bert(6)
    small = made(large, layers=layers)
    # The larger one, with no other layer to run.
    large.encoder.layer = torch.nn.ModuleList(large.encoder.layer[number - 1] for number in layers)
    large.config.num_hidden_layers = len(layers)
    assert torch.equal(run(small), run(large))


@pytest.mark.parametrize(
    ("depth", "count", "chosen"),
    [(6, 3, (2, 4, 6)), (12, 4, (3, 6, 9, 12)), (6, 4, (2, 3, 4, 6)), (12, 1, (12,)), (2, 2, (1, 2))],
)
def test_a_number_of_layers_is_spread_evenly(depth, count, chosen):
    assert shape_from(BertConfig(num_hidden_layers=depth), layers=count).layers == chosen


@given(st.integers(1, 40), st.data())
def test_spread_layers_are_ascending_and_end_at_the_last(depth, data):
    count = data.draw(st.integers(1, depth))
    chosen = shape_from(BertConfig(num_hidden_layers=depth), layers=count).layers
    assert len(chosen) == count and chosen[-1] == depth and chosen[0] >= 1
    gaps = [after - before for before, after in zip((0, *chosen), chosen, strict=False)]
    # No gap differs from the even one by a layer.
    assert all(abs(gap - depth / count) < 1.01 for gap in gaps) and min(gaps) >= 1


def test_what_is_not_asked_for_is_as_before():
    config = BertConfig(hidden_size=384, num_attention_heads=12, intermediate_size=1536, num_hidden_layers=6)
    shape = shape_from(config, hidden_size=192)
    # Heads keep their width of 32, the feed-forward layers their ratio of 4.
    assert (shape.heads, shape.intermediate_size, shape.embedding_size) == (6, 768, 192)
    # 100 is no multiple of 32.
    assert shape_from(config, hidden_size=60).heads == 12
    narrow = BertConfig(hidden_size=64, num_attention_heads=4, intermediate_size=32)
    assert shape_from(narrow, hidden_size=32).intermediate_size == 16


# A narrower width.


def naive_rows(layer, heads, width):
    """Return the rows of query, key and value that are kept, of 4 heads of 8 rows."""
    outgoing = layer.attention.output.dense.weight
    norms = [outgoing[:, 8 * head : 8 * head + 8].norm().item() for head in range(4)]
    best = sorted(sorted(range(4), key=lambda head: -norms[head])[:heads])
    return [8 * head + row for head in best for row in range(width)]


def naive_units(layer, count):
    weights = zip(layer.intermediate.dense.weight, layer.output.dense.weight.T, strict=True)
    norms = [(incoming.norm() * outgoing.norm()).item() for incoming, outgoing in weights]
    return sorted(sorted(range(len(norms)), key=lambda unit: -norms[unit])[:count])


@pytest.mark.parametrize(
    ("hidden", "heads", "intermediate"), [(16, None, None), (16, 4, 20), (24, None, 10), (12, 3, 48)]
)
def test_a_narrower_width_is_the_projection_of_every_weight(hidden, heads, intermediate):
    large = bert(3)
    small = made(large, layers=(1, 3), hidden_size=hidden, heads=heads, intermediate_size=intermediate)
    heads = heads or {16: 2, 24: 3}[hidden]
    assert small.config.num_attention_heads == heads
    table = large.embeddings.word_embeddings.weight.detach()
    # The basis, as the smaller table shows it: orthonormal, and the first right singular vectors span it.
    basis = torch.linalg.lstsq(table, small.embeddings.word_embeddings.weight.detach()).solution
    torch.testing.assert_close(basis.T @ basis, torch.eye(hidden), atol=1e-4, rtol=0)
    singular = torch.linalg.svd(table, full_matrices=False).Vh[:hidden].T
    torch.testing.assert_close(basis @ basis.T, singular @ singular.T, atol=1e-4, rtol=0)

    def gain(weight):
        return (basis.T @ torch.diag(weight) @ basis).diag()

    expected = {
        "embeddings.word_embeddings.weight": table @ basis,
        "embeddings.position_embeddings.weight": large.embeddings.position_embeddings.weight @ basis,
        "embeddings.token_type_embeddings.weight": large.embeddings.token_type_embeddings.weight @ basis,
        "embeddings.LayerNorm.weight": gain(large.embeddings.LayerNorm.weight),
        "embeddings.LayerNorm.bias": large.embeddings.LayerNorm.bias @ basis,
    }
    for place, layer in enumerate([large.encoder.layer[0], large.encoder.layer[2]]):
        name = f"encoder.layer.{place}."
        rows = naive_rows(layer, heads, hidden // heads)
        units = naive_units(layer, intermediate or 48 * hidden // 32)
        for part in ("query", "key", "value"):
            linear = getattr(layer.attention.self, part)
            expected[f"{name}attention.self.{part}.weight"] = linear.weight[rows] @ basis
            expected[f"{name}attention.self.{part}.bias"] = linear.bias[rows]
        expected[f"{name}attention.output.dense.weight"] = basis.T @ layer.attention.output.dense.weight[:, rows]
        expected[f"{name}intermediate.dense.weight"] = layer.intermediate.dense.weight[units] @ basis
        expected[f"{name}intermediate.dense.bias"] = layer.intermediate.dense.bias[units]
        expected[f"{name}output.dense.weight"] = basis.T @ layer.output.dense.weight[:, units]
        for part, block in (("attention.output", layer.attention.output), ("output", layer.output)):
            expected[f"{name}{part}.dense.bias"] = block.dense.bias @ basis
            expected[f"{name}{part}.LayerNorm.weight"] = gain(block.LayerNorm.weight)
            expected[f"{name}{part}.LayerNorm.bias"] = block.LayerNorm.bias @ basis
    weights = small.state_dict()
    assert weights.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(weights[key], value.detach(), atol=1e-4, rtol=1e-4, msg=lambda text, key=key: key)
    assert run(small).shape == (10, hidden)


def test_fewer_feed_forward_units_alone_leave_the_rest():
    large = bert(1)
    small = made(large, intermediate_size=20)
    layer, kept = large.encoder.layer[0], small.encoder.layer[0]
    units = naive_units(layer, 20)
    assert torch.equal(kept.intermediate.dense.weight, layer.intermediate.dense.weight[units])
    assert torch.equal(kept.output.dense.weight, layer.output.dense.weight[:, units])
    assert torch.equal(kept.attention.self.query.weight, layer.attention.self.query.weight)


def test_units_that_do_nothing_go_first():
    large = bert(2)
    with torch.no_grad():
        for layer in large.encoder.layer:
            layer.output.dense.weight[:, ::2] = 0.0
    torch.testing.assert_close(run(made(large, intermediate_size=24)), run(large), atol=1e-5, rtol=1e-5)


def test_heads_that_are_read_anew_have_the_same_rows():
    large = bert(1)
    small = made(large, heads=8)
    assert small.config.num_attention_heads == 8
    assert torch.equal(
        small.encoder.layer[0].attention.self.key.weight, large.encoder.layer[0].attention.self.key.weight
    )


# A factorised embedding.


def embedded(network, word, position, kind):
    """Return the outputs of the embedding layer for tokens (n,) at places (n,) of types (n,)."""
    vectors = network.embeddings(input_ids=word[:, None], position_ids=position[:, None], token_type_ids=kind[:, None])
    return getattr(network, "embeddings_project", torch.nn.Identity())(vectors)[:, 0].detach()


def every_sum(large):
    """Return all tokens at all places and of all types, and the sums of their embeddings."""
    places = torch.tensor(list(product(range(60), range(16), range(2))))
    tables = [getattr(large.embeddings, f"{name}_embeddings").weight for name in ("word", "position", "token_type")]
    sums = sum(table[column] for table, column in zip(tables, places.T, strict=True))
    return places.T, sums.detach().double()


@pytest.mark.parametrize("width", [4, 9, 24, 31])
def test_a_factorised_embedding_keeps_the_principal_directions(width):
    large = bert(1)
    places, sums = every_sum(large)
    centred = sums - sums.mean(1, keepdim=True)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[: width - 1]
    kept = centred @ directions.T @ directions
    norm = large.embeddings.LayerNorm
    expected = kept / kept.square().mean(1, keepdim=True).sqrt() * norm.weight + norm.bias
    small = made(large, embedding_size=width)
    assert type(small) is ElectraModel and small.config.embedding_size == width
    torch.testing.assert_close(embedded(small, *places), expected.float(), atol=1e-3, rtol=1e-3)


def test_a_wider_table_is_nearer():
    large = bert(1)
    places, _ = every_sum(large)
    wanted = embedded(large, *places)
    errors = [(embedded(made(large, embedding_size=width), *places) - wanted).norm() for width in (4, 12, 20, 28, 31)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.15 * wanted.norm()


def test_embeddings_of_few_directions_are_kept_exactly():
    large = bert(2)
    few = torch.randn(7, 32)
    with torch.no_grad():
        for name in ("word", "position", "token_type"):
            weight = getattr(large.embeddings, f"{name}_embeddings").weight
            weight.copy_(weight[:, :7] @ few)
    # One more than the directions, since the narrow normalisation takes one away.
    torch.testing.assert_close(run(made(large, embedding_size=8)), run(large), atol=1e-4, rtol=1e-4)
    assert (run(made(large, embedding_size=7)) - run(large)).abs().max() > 0.01


def test_a_narrower_width_may_be_factorised_too():
    large = bert(2)
    plain = made(large, hidden_size=16)
    factorised = made(large, hidden_size=16, embedding_size=15)
    assert run(factorised).shape == (10, 16)
    for key, value in plain.encoder.state_dict().items():
        assert torch.equal(factorised.encoder.state_dict()[key], value), key
    places, _ = every_sum(large)
    wanted = embedded(plain, *places)
    assert (embedded(factorised, *places) - wanted).norm() < 0.25 * wanted.norm()


# Other starts.


def test_a_factorised_start_is_copied():
    large = bert(4, kind=ElectraModel, config=ElectraConfig, embedding_size=12)
    assert shape_from(large.config).embedding_size == 12
    assert torch.equal(run(made(large)), run(large))
    small = made(large, layers=2)
    large.encoder.layer = torch.nn.ModuleList([large.encoder.layer[1], large.encoder.layer[3]])
    assert torch.equal(run(small), run(large))


@pytest.mark.parametrize("settings", [{"hidden_size": 16}, {"embedding_size": 8}, {"embedding_size": 32}])
def test_a_factorised_start_keeps_its_embedding(settings):
    large = bert(1, kind=ElectraModel, config=ElectraConfig, embedding_size=12)
    with pytest.raises(RecipeError, match=r"student\.embedding_size: .* factorised, 12 to 32, and stays so"):
        made(large, **settings)
    # Of random weights there is nothing to keep.
    assert new_transformer(shape_from(large.config, **settings), large.config).config.hidden_size in (16, 32)


def test_an_electra_without_factors_is_a_bert():
    large = bert(2, kind=ElectraModel, config=ElectraConfig, embedding_size=32)
    small = made(large)
    assert type(small) is BertModel
    assert torch.equal(run(small), run(large))


def test_a_roberta_becomes_a_bert_that_counts_positions_from_the_first():
    large = bert(2, kind=RobertaModel, config=RobertaConfig, type_vocab_size=1, pad_token_id=0)
    small = made(large)
    assert type(small) is BertModel
    assert small.config.max_position_embeddings == 15
    none = {"token_type_ids": torch.zeros_like(IDS)}
    torch.testing.assert_close(run(small, **none), run(large, **none), atol=1e-6, rtol=1e-6)


def test_random_weights_have_the_shape_alone():
    config = bert(4).config
    shape = shape_from(config, layers=2, hidden_size=16, embedding_size=8)
    torch.manual_seed(1)
    network = new_transformer(shape, config)
    assert type(network) is ElectraModel
    assert network.embeddings.word_embeddings.weight.shape == (60, 8)
    assert len(network.encoder.layer) == 2 and network.config.hidden_size == 16


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"layers": 0}, r"student\.layers: 0 layers cannot be taken from a model of 4"),
        ({"layers": 5}, r"student\.layers: 5 layers cannot be taken from a model of 4"),
        ({"layers": (2, 5)}, r"student\.layers: \[2, 5\] are no ascending layers out of 1 to 4"),
        ({"layers": (0, 2)}, r"student\.layers: \[0, 2\]"),
        ({"layers": (3, 2)}, r"student\.layers: \[3, 2\]"),
        ({"layers": (2, 2)}, r"student\.layers: \[2, 2\]"),
        ({"layers": ()}, r"student\.layers: \[\]"),
        ({"hidden_size": 64}, r"student\.hidden_size: 64 is wider than the 32"),
        ({"hidden_size": 30}, r"student\.hidden_size: 30 does not divide into 4 heads"),
        ({"heads": 5}, r"32 does not divide into 5 heads: change student\.heads"),
        ({"hidden_size": 16, "heads": 8}, r"student\.heads: 8 heads of width 2 do not come out of 4 of 8"),
        ({"hidden_size": 24, "heads": 2}, r"student\.heads: 2 heads of width 12 do not come out of 4 of 8"),
        ({"embedding_size": 33}, r"student\.embedding_size: 33 is wider than hidden_size 32"),
        ({"hidden_size": 16, "embedding_size": 24}, r"student\.embedding_size: 24 is wider than hidden_size 16"),
        ({"intermediate_size": 49}, r"student\.intermediate_size: 49 is wider than the 48"),
    ],
)
def test_what_cannot_come_out_is_named_by_its_key(settings, fault):
    with pytest.raises(RecipeError, match=fault) as caught:
        made(bert(4), **settings)
    assert "\n" not in str(caught.value)


def test_another_layout_is_refused():
    with pytest.raises(RecipeError, match=r"student\.start: a distilbert has not the layout of BERT"):
        shape_from(DistilBertConfig())
