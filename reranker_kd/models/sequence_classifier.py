"""Cross-encoders: one relevance score out of a transformer's classification head."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from reranker_kd.errors import ModelError
from reranker_kd.models.loading import load_transformer


class SequenceClassifier(torch.nn.Module):
    """From token arrays (n, tokens) to raw relevance scores (n, 1), in float32.

    With one label the score is its logit. With two it is the log-odds of the second label, the difference of the
    logits: the order of the softmax probability that monoBERT ranks by (Nogueira and Cho 2019, section 3), without
    its ties near 0 and 1.

    :param classifier: a ``transformers`` model with a sequence classification head
    """

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run all but the last layer in ``dtype``: scores rounded to half precision would tie by accident."""
        name, head = [
            (name, module)
            for name, module in self.classifier.named_modules()
            if isinstance(module, torch.nn.Linear) and module.out_features == self.classifier.config.num_labels
        ][-1]
        in_full = copy.deepcopy(head)
        self.classifier.to(dtype)
        parent, _, last = name.rpartition(".")
        setattr(self.classifier.get_submodule(parent), last, _InFloat32(in_full))

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        logits = self.classifier(**inputs).logits.float()
        return logits if logits.shape[1] == 1 else logits[:, 1:] - logits[:, :1]


class _InFloat32(torch.nn.Module):
    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.layer(hidden.float())


def load_sequence_classifier(folder: Path) -> SequenceClassifier:
    """Load a cross-encoder from a folder that ``save_pretrained`` wrote.

    :raises ModelError: more than two labels, or a model that cannot be loaded
    """
    classifier = load_transformer(AutoModelForSequenceClassification, folder)
    labels = classifier.config.num_labels
    if labels not in (1, 2):
        raise ModelError(f"{folder}: has {labels} labels; a reranker has one (a score) or two (not relevant, relevant)")
    return SequenceClassifier(classifier)
