"""Masked language modelling: what is hidden, what is predicted, and what learns from it."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForMaskedLM, BertModel, ElectraConfig, ElectraModel

from reranker_kd.distill.data.batches import Chunks
from reranker_kd.distill.objectives.masked_language_model import MaskedLanguageModel
from reranker_kd.errors import RecipeError

VOCABULARY, MASK, SPECIALS = 500, 4, (0, 1, 2, 3, 4)
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


def test_share_and_fate_of_the_tokens():
    encoder = bert()
    seen = Seen(encoder)
    torch.manual_seed(1)
    inputs = chunk(rows=1500)
    # All chosen: what becomes of a token can be counted.
    MaskedLanguageModel(encoder, MASK, SPECIALS, share=1.0)(chunks(inputs))
    before, after = inputs["input_ids"], seen.given[0]
    words = before >= 5
    count = int(words.sum())
    assert count > 25_000
    masked = int((after[words] == MASK).sum()) / count
    kept = int((after[words] == before[words]).sum()) / count
    # Five standard deviations are below 0.013; a random token is the mask or the same in 1 of 500.
    assert abs(masked - 0.8) < 0.015
    assert abs(kept - 0.1) < 0.015
    replaced = after[words & (after != before) & (after != MASK)]
    assert abs(len(replaced) / count - 0.1) < 0.015
    # By any token of the vocabulary, about equally often.
    assert len(replaced.unique()) > 0.95 * VOCABULARY
    assert replaced.bincount(minlength=VOCABULARY).max() < 4 * len(replaced) / VOCABULARY
    # Special tokens and padding are what they were.
    assert torch.equal(after[~words], before[~words])


def test_15_of_100_tokens_are_chosen_and_no_special_one():
    model = MaskedLanguageModel(bert(), MASK, SPECIALS)
    torch.manual_seed(2)
    inputs = chunk(rows=1500)
    chosen = model._chosen(inputs["input_ids"], inputs["attention_mask"])
    words = inputs["input_ids"] >= 5
    assert not chosen[~words].any()
    assert abs(chosen[words].float().mean().item() - 0.15) < 0.012
    # Other words in the same places the next time.
    assert not torch.equal(chosen, model._chosen(inputs["input_ids"], inputs["attention_mask"]))


def test_padding_is_never_chosen_even_where_it_is_no_special_token():
    encoder = bert()
    seen = Seen(encoder)
    inputs = chunk(rows=50)
    padding = inputs["attention_mask"] == 0
    inputs["input_ids"][padding] = 77
    MaskedLanguageModel(encoder, MASK, SPECIALS, share=1.0)(chunks(inputs))
    assert (seen.given[0][padding] == 77).all()


def test_the_loss_is_the_mean_over_chosen_tokens_of_all_chunks(monkeypatch):
    encoder = bert()
    seen = Seen(encoder)
    model = MaskedLanguageModel(encoder, MASK, SPECIALS)
    choices = []
    choose = model._chosen
    # Only watched: the choice is the model's own.
    monkeypatch.setattr(model, "_chosen", lambda *given: choices.append(choose(*given)) or choices[-1])
    parts = [chunk(20, 30, seed=1), chunk(5, 12, seed=2)]
    loss = model(chunks(*parts))
    assert len(choices) == 2
    values = []
    for inputs, chosen, hidden in zip(parts, choices, seen.hidden, strict=True):
        for row, place in chosen.nonzero().tolist():
            inner = torch.nn.functional.gelu(model.dense(hidden[row, place]))
            logits = encoder.embeddings.word_embeddings.weight @ model.norm(inner) + model.bias
            values.append(cross_entropy(logits, inputs["input_ids"][row, place]))
    assert len(values) > 20
    torch.testing.assert_close(loss, torch.stack(values).mean())


def test_the_head_is_berts_own():
    encoder = bert()
    theirs = BertForMaskedLM(encoder.config).eval()
    theirs.bert.embeddings, theirs.bert.encoder = encoder.embeddings, encoder.encoder
    theirs.tie_weights()
    model = MaskedLanguageModel(encoder, MASK, SPECIALS, share=1.0)
    transform = theirs.cls.predictions.transform
    model.dense, model.norm, model.bias = transform.dense, transform.LayerNorm, theirs.cls.predictions.bias
    inputs = chunk(20, 30)
    seen = Seen(encoder)
    loss = model(chunks(inputs))
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] < 5, -100)
    torch.testing.assert_close(loss, theirs(**{**inputs, "input_ids": seen.given[0]}, labels=labels).loss)


@pytest.mark.parametrize("architecture", ["bert", "electra"])
def test_the_gradient_reaches_the_whole_encoder(architecture):
    if architecture == "bert":
        encoder = bert()
    else:
        encoder = ElectraModel(ElectraConfig(**SIZES, intermediate_size=16, embedding_size=8))
    model = MaskedLanguageModel(encoder, MASK, SPECIALS)
    # The student holds the encoder: it is neither trained nor saved twice.
    assert not any(id(own) == id(given) for own in model.parameters() for given in encoder.parameters())
    torch.manual_seed(3)
    model(chunks(chunk())).backward()
    without = [name for name, value in encoder.named_parameters() if value.grad is None or not value.grad.any()]
    # A softmax does not see what it adds to all keys.
    assert [name for name in without if not name.endswith("key.bias")] == []
    assert all(value.grad.any() for value in model.parameters())


def test_learning_lowers_the_loss():
    encoder = bert()
    model = MaskedLanguageModel(encoder, MASK, SPECIALS)
    texts = chunks(chunk(rows=30, tokens=12))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *model.parameters()], lr=0.02)
    losses = []
    for step in range(60):
        torch.manual_seed(step % 3)
        loss = model(texts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


def test_texts_without_a_word_cost_nothing_and_may_be_learnt_from():
    model = MaskedLanguageModel(bert(), MASK, SPECIALS)
    ids = torch.tensor([[2, 3]])
    loss = model(chunks({"input_ids": ids, "attention_mask": torch.ones_like(ids)}))
    assert loss.item() == 0.0
    loss.backward()
    assert not model.bias.grad.any()


def test_a_tokenizer_without_a_mask_is_refused():
    with pytest.raises(RecipeError, match=r"domain_pretraining: the tokenizer of student\.start has no mask"):
        MaskedLanguageModel(bert(), None, SPECIALS)
