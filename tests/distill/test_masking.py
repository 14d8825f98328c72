"""Masked language modelling: what is hidden, what is predicted, and what learns from it."""

from __future__ import annotations

import pytest
import torch
from make_tiny_models import bert_tokenizer
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForMaskedLM, BertModel, ElectraConfig, ElectraModel

from reranker_kd.distill.data.batches import Chunks
from reranker_kd.distill.objectives.masked_language_model import MaskedLanguageModel, masked_cross_entropy
from reranker_kd.errors import RecipeError

TOKENIZER = bert_tokenizer()
VOCABULARY, MASK = len(TOKENIZER), TOKENIZER.mask_token_id
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def bert(**settings):
    torch.manual_seed(0)
    config = BertConfig(**SIZES, intermediate_size=16, initializer_range=0.3, **settings)
    return BertModel(config, add_pooling_layer=False).eval()


def chunk(rows=200, tokens=40, seed=0):
    """Return texts of words from 5, framed by 2 and 3, and of other lengths: 0 is their padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCABULARY, (rows, tokens), generator=generator)
    lengths = torch.randint(3, tokens + 1, (rows,), generator=generator)
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    ids = ids.masked_fill(mask == 0, 0)
    ids[:, 0] = 2
    ids[torch.arange(rows), lengths - 1] = 3
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


def chunks(*inputs):
    rows = sum(len(each["input_ids"]) for each in inputs)
    return Chunks(list(inputs), torch.arange(rows))


class Seen:
    """What the encoder was given, and what it returned."""

    def __init__(self, encoder):
        self.given, self.hidden = [], []
        encoder.register_forward_hook(self._keep, with_kwargs=True)

    def _keep(self, _module, _arguments, inputs, output):
        self.given.append(inputs["input_ids"])
        self.hidden.append(output.last_hidden_state)


def loss_of(model, texts):
    return masked_cross_entropy(*model(texts))


def test_15_of_100_tokens_are_predicted_and_most_of_these_are_masked():
    encoder = bert()
    seen = Seen(encoder)
    inputs = chunk(rows=10_000)
    torch.manual_seed(1)
    _, labels = MaskedLanguageModel(encoder, TOKENIZER)(chunks(inputs))
    before, after = inputs["input_ids"], seen.given[0]
    words = before >= 5
    # Of some 200,000 tokens: five standard deviations are below 0.011.
    assert abs(len(labels) / int(words.sum()) - 0.15) < 0.011
    masked = after == MASK
    # Of some 30,000: five standard deviations are below 0.013.
    assert abs(int(masked.sum()) / len(labels) - 0.8) < 0.015
    # What is masked is predicted.
    replaced = after[words & (after != before) & ~masked]
    assert abs(len(replaced) / len(labels) - 0.1) < 0.015
    # Special tokens and padding are what they were.
    assert torch.equal(after[~words], before[~words])


def test_padding_is_never_chosen_even_where_it_is_no_special_token():
    encoder = bert()
    seen = Seen(encoder)
    inputs = chunk(rows=500)
    padding = inputs["attention_mask"] == 0
    inputs["input_ids"][padding] = 77
    MaskedLanguageModel(encoder, TOKENIZER)(chunks(inputs))
    assert (seen.given[0][padding] == 77).all()


def test_the_loss_is_the_mean_over_chosen_tokens_of_all_chunks():
    encoder = bert()
    model = MaskedLanguageModel(encoder, TOKENIZER)
    seen = Seen(encoder)
    parts = [chunk(20, 30, seed=1), chunk(5, 12, seed=2)]
    logits, labels = model(chunks(*parts))
    expected = []
    for inputs, corrupted, hidden in zip(parts, seen.given, seen.hidden, strict=True):
        changed = (corrupted != inputs["input_ids"]).nonzero().tolist()
        for row, place in changed:
            inner = torch.nn.functional.gelu(model.dense(hidden[row, place]))
            expected.append(encoder.embeddings.word_embeddings.weight @ model.norm(inner) + model.bias)
    assert len(expected) > 20
    # What stayed as it was is among them too, at places that cannot be seen from here.
    for logit in expected:
        assert (logits - logit).abs().amax(1).min() < 1e-5
    by_hand = torch.stack([cross_entropy(logit, label) for logit, label in zip(logits, labels, strict=True)])
    torch.testing.assert_close(masked_cross_entropy(logits, labels), by_hand.mean())


def test_the_head_is_berts_own():
    encoder = bert()
    theirs = BertForMaskedLM(encoder.config).eval()
    theirs.bert.embeddings, theirs.bert.encoder = encoder.embeddings, encoder.encoder
    theirs.tie_weights()
    model = MaskedLanguageModel(encoder, TOKENIZER)
    transform = theirs.cls.predictions.transform
    model.dense, model.norm, model.bias = transform.dense, transform.LayerNorm, theirs.cls.predictions.bias
    inputs = chunk(20, 30)
    seen = Seen(encoder)
    logits, labels = model(chunks(inputs))
    # Of what they predict for every place, ours are the chosen ones, in their order.
    everywhere = theirs(**{**inputs, "input_ids": seen.given[0]}).logits.flatten(0, 1)
    changed = seen.given[0] != inputs["input_ids"]
    distances = (everywhere[changed.flatten()][:, None] - logits).abs().amax(2).amin(1)
    assert len(distances) > 10 and distances.max() < 1e-5
    assert len(labels) == len(logits)


@pytest.mark.parametrize("architecture", ["bert", "electra"])
def test_the_gradient_reaches_the_whole_encoder(architecture):
    if architecture == "bert":
        encoder = bert()
    else:
        encoder = ElectraModel(ElectraConfig(**SIZES, intermediate_size=16, embedding_size=8))
    model = MaskedLanguageModel(encoder, TOKENIZER)
    # The student holds the encoder: it is neither trained nor saved twice.
    assert not any(id(own) == id(given) for own in model.parameters() for given in encoder.parameters())
    torch.manual_seed(3)
    loss_of(model, chunks(chunk())).backward()
    without = [name for name, value in encoder.named_parameters() if value.grad is None or not value.grad.any()]
    # A softmax does not see what it adds to all keys.
    assert [name for name in without if not name.endswith("key.bias")] == []
    assert all(value.grad.any() for value in model.parameters())


def test_learning_lowers_the_loss():
    encoder = bert()
    model = MaskedLanguageModel(encoder, TOKENIZER)
    texts = chunks(chunk(rows=30, tokens=12))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *model.parameters()], lr=0.02)
    losses = []
    for step in range(60):
        torch.manual_seed(step % 3)
        loss = loss_of(model, texts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


def test_texts_without_a_word_cost_nothing_and_may_be_learnt_from():
    model = MaskedLanguageModel(bert(), TOKENIZER)
    ids = torch.tensor([[2, 3]])
    loss = loss_of(model, chunks({"input_ids": ids, "attention_mask": torch.ones_like(ids)}))
    assert loss.item() == 0.0
    loss.backward()
    assert not model.bias.grad.any()


def test_a_tokenizer_without_a_mask_is_refused():
    maskless = bert_tokenizer()
    maskless.mask_token = None
    with pytest.raises(RecipeError, match=r"domain_pretraining: the tokenizer of student\.start has no mask"):
        MaskedLanguageModel(bert(), maskless)


def test_a_student_without_a_transformer_is_refused():
    with pytest.raises(RecipeError, match=r"domain_pretraining: this student\.kind has no transformer"):
        MaskedLanguageModel(None, TOKENIZER)
