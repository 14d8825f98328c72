"""What is recorded of a transformer is what transformers itself says of its insides."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
)

from reranker_kd.distill.objectives.recording import layers_of, recording
from reranker_kd.errors import RecipeError

SIZES = {
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "initializer_range": 0.3,
}
INPUTS = {
    "input_ids": torch.tensor([[2, 7, 30, 8, 39, 3], [2, 20, 9, 3, 1, 1]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]),
}


def tiny(architecture, attention="eager"):
    torch.manual_seed(0)
    kinds = {
        "bert": (BertModel, BertConfig, {}),
        "electra": (ElectraModel, ElectraConfig, {"embedding_size": 8}),
        "electra of one width": (ElectraModel, ElectraConfig, {"embedding_size": 24}),
        "roberta": (RobertaModel, RobertaConfig, {"pad_token_id": 1, "max_position_embeddings": 20}),
    }
    model, config, settings = kinds[architecture]
    network = model(config(**SIZES, **settings)).eval()
    network.set_attn_implementation(attention)
    return network


@pytest.mark.parametrize("architecture", ["bert", "electra", "electra of one width", "roberta"])
@torch.no_grad()
def test_hidden_states_and_attention_are_those_of_transformers(architecture):
    network = tiny(architecture)
    with recording(network) as recorded:
        outputs = network(**INPUTS, output_hidden_states=True, output_attentions=True)
    assert len(layers_of(network)) == 3
    assert len(recorded.hidden) == len(outputs.hidden_states) == 4
    for ours, theirs in zip(recorded.hidden, outputs.hidden_states, strict=True):
        assert torch.equal(ours, theirs)
    padding = INPUTS["attention_mask"][:, None, None, :] == 0
    for layer, attention in enumerate(outputs.attentions, start=1):
        scores = recorded.attention_scores(layer)
        assert scores.shape == (2, 3, 6, 6)
        torch.testing.assert_close(scores.masked_fill(padding, -torch.inf).softmax(-1), attention)


@torch.no_grad()
def test_fused_attention_gives_the_same():
    recordings = []
    for attention in ("eager", "sdpa"):
        network = tiny("bert", attention)
        with recording(network) as recorded:
            network(**INPUTS)
        recordings.append(recorded)
    eager, fused = recordings
    # Padding's own vectors differ: one attends where the other does not.
    seen = INPUTS["attention_mask"].bool()
    for layer in (1, 2, 3):
        torch.testing.assert_close(eager.hidden[layer][seen], fused.hidden[layer][seen])
        torch.testing.assert_close(eager.attention_scores(layer)[0], fused.attention_scores(layer)[0])


@torch.no_grad()
def test_queries_keys_and_values_are_the_projections():
    network = tiny("bert")
    with recording(network) as recorded:
        network(**INPUTS)
    for layer, hidden in zip(network.encoder.layer, recorded.hidden, strict=False):
        attention = layer.attention.self
        place = list(network.encoder.layer).index(layer)
        for kept, projection in [
            (recorded.queries, attention.query),
            (recorded.keys, attention.key),
            (recorded.values, attention.value),
        ]:
            # Head h has the columns 8 h to 8 h + 7.
            expected = torch.stack([projection(hidden)[:, :, 8 * head : 8 * head + 8] for head in range(3)], dim=1)
            torch.testing.assert_close(kept[place], expected)


def hooks_of(network):
    return [hook for module in network.modules() for hook in module._forward_hooks.values()]


@pytest.mark.parametrize("architecture", ["bert", "electra"])
def test_hooks_go_when_the_block_ends(architecture):
    network = tiny(architecture)
    before = len(hooks_of(network))
    with recording(network) as recorded:
        assert len(hooks_of(network)) == before + 1 + 3 * 4
    assert len(hooks_of(network)) == before
    network(**INPUTS)
    assert not recorded.hidden and not recorded.queries


def test_hooks_go_when_the_network_fails():
    network = tiny("bert")
    before = len(hooks_of(network))
    with pytest.raises(IndexError), recording(network):
        network(input_ids=torch.tensor([[99]]))
    assert len(hooks_of(network)) == before


def test_what_is_recorded_has_gradients():
    network = tiny("bert")
    with recording(network) as recorded:
        network(**INPUTS)
    recorded.attention_scores(2).square().sum().backward()
    layers = network.encoder.layer
    assert layers[0].output.dense.weight.grad.abs().sum() > 0
    assert layers[1].attention.self.query.weight.grad.abs().sum() > 0
    assert layers[1].attention.self.value.weight.grad is None


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (AlbertModel, AlbertConfig(**SIZES, embedding_size=8)),
        (DistilBertModel, DistilBertConfig(vocab_size=40, dim=24, n_layers=1, n_heads=3, hidden_dim=20)),
        # Layers and attention it has, but under other names.
        (MPNetModel, MPNetConfig(**SIZES)),
    ],
)
def test_another_layout_is_refused_and_left_as_it_was(model, config):
    network = model(config)
    before = len(hooks_of(network))
    with pytest.raises(RecipeError, match=rf"layers of a {model.__name__} cannot be recorded"):
        layers_of(network)
    with pytest.raises(RecipeError, match="take a BERT"), recording(network):
        pass
    assert len(hooks_of(network)) == before
