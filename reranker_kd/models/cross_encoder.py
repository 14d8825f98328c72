"""Cross-encoders of the Hugging Face hub: one relevance score out of a transformer's classification head."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    ElectraForSequenceClassification,
)

from reranker_kd.errors import ModelError, RecipeError
from reranker_kd.models.first_token import read_first_token_alone
from reranker_kd.models.kind import Kind, Start, TransformerShape
from reranker_kd.models.loading import load_transformer, quiet_transformers
from reranker_kd.models.network import Network


class CrossEncoderShape(TransformerShape):
    """A BERT, or an ELECTRA where the embedding table is factorised, with one score."""

    kind: Literal["cross-encoder"] = "cross-encoder"


class CrossEncoder(Network):
    """From token arrays (n, tokens) to raw relevance scores (n, 1), in float32.

    With one label the score is its logit. With two it is the log-odds of the second label, the difference of the
    logits: the order of the softmax probability that monoBERT ranks by (Nogueira and Cho 2019, section 3), without
    its ties near 0 and 1.

    :param classifier: a ``transformers`` model with a sequence classification head
    """

    def __init__(self, shape: CrossEncoderShape, classifier: Any) -> None:
        super().__init__(shape)
        self.classifier = classifier

    def for_inference(self) -> None:
        """Leave out of the last layer what the head does not read."""
        read_first_token_alone(self.classifier)

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run all but the last layer in ``dtype``: scores rounded to half precision would tie by accident."""
        linear = [module for module in self.classifier.modules() if isinstance(module, torch.nn.Linear)]
        head = [layer for layer in linear if layer.out_features == self.classifier.config.num_labels][-1]
        in_full = copy.deepcopy(head.state_dict())
        self.classifier.to(dtype)
        head.float().load_state_dict(in_full)
        head.register_forward_pre_hook(lambda _, hidden: (hidden[0].float(),))

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        logits = self.classifier(**inputs).logits.float()
        return logits if logits.shape[1] == 1 else logits[:, 1:] - logits[:, :1]


def build(shape: CrossEncoderShape, start: Start) -> CrossEncoder:
    """Return a cross-encoder with a new head, or with the start's.

    :raises RecipeError: a head that is to be copied, and that the start lacks or that does not fit
    """
    transformer = start.transformer(shape, "transformer")
    config = transformer.config
    config.num_labels = 1
    if config.model_type == "electra":
        classifier: Any = ElectraForSequenceClassification(config)
        classifier.electra = transformer
    else:
        classifier = BertForSequenceClassification(config)
        classifier.bert.embeddings, classifier.bert.encoder = transformer.embeddings, transformer.encoder
    if shape.head == "copied":
        _copy_head(classifier, start)
    return CrossEncoder(shape, classifier)


def _copy_head(classifier: Any, start: Start) -> None:
    """Take the two layers above the transformer from the start: of two labels the difference, as scores are."""
    apart = ("classifier.dense.", "classifier.out_proj.")
    if classifier.config.model_type == "electra":
        # A GELU lies between them; BERT and RoBERTa have a tanh there.
        layers = (classifier.classifier.dense, classifier.classifier.out_proj)
        prefixes = [apart] if start.head("electra.") else []
    else:
        layers = (classifier.bert.pooler.dense, classifier.classifier)
        prefixes = [("bert.pooler.dense.", "classifier."), apart]
    for names in prefixes:
        given = [start.head(name) for name in names]
        if all({*weights} == {"weight", "bias"} for weights in given):
            if len(given[1]["weight"]) == 2:
                given[1] = {key: value[1:] - value[:1] for key, value in given[1].items()}
            if all(layer.weight.shape == weights["weight"].shape for layer, weights in zip(layers, given, strict=True)):
                for layer, weights in zip(layers, given, strict=True):
                    layer.load_state_dict(weights)
                return
    raise RecipeError(
        "student.head: the start has no head that fits this student: name a whole cross-encoder with one or two labels "
        "as student.start and keep its width and embedding, or leave student.head out for a new one"
    )


def load(_kind: Kind, folder: Path) -> CrossEncoder:
    """Load a cross-encoder from a folder that ``save_pretrained`` wrote.

    :raises ModelError: more than two labels, or a model that cannot be loaded
    """
    classifier = load_transformer(AutoModelForSequenceClassification, folder)
    labels = classifier.config.num_labels
    if labels not in (1, 2):
        raise ModelError(f"{folder}: has {labels} labels; a reranker has one (a score) or two (not relevant, relevant)")
    interpolate = getattr(classifier.config, "interpolate", 0.0)
    return CrossEncoder(CrossEncoderShape(max_length=None, interpolate=interpolate), classifier)


def save(_kind: Kind, network: CrossEncoder, tokenizer: Any, folder: Path) -> None:
    """Write a folder as transformers has it, which sentence-transformers' CrossEncoder opens."""
    if network.shape.interpolate:
        network.classifier.config.interpolate = network.shape.interpolate
    with quiet_transformers():
        network.classifier.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


KIND = Kind(
    name="cross-encoder",
    reads="pairs",
    shape=CrossEncoderShape,
    build=build,
    copies_head=True,
    encoder=lambda network: network.classifier.base_model,
    recognises=lambda _, config: any(
        name.endswith("ForSequenceClassification") for name in config.get("architectures") or ()
    ),
    reader=load,
    writer=save,
    opens_in=lambda _: "transformers, sentence-transformers' CrossEncoder",
)
