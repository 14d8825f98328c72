"""Tiny students with random weights, made on the spot."""

from __future__ import annotations

from pathlib import Path

import torch
from make_tiny_models import bert_tokenizer, make_transformer

from reranker_kd.distill.students import build_student
from reranker_kd.models.bert_bilstm import KIND, BertBiLSTM, BertBiLSTMShape
from reranker_kd.models.kinds import KINDS


def tiny_bert_bilstm(*, seed: int = 0, **settings: int | float | bool) -> BertBiLSTM:
    """Return a BertBiLSTM whose scores tell texts apart; settings are keys of its configuration."""
    torch.manual_seed(seed)
    sizes = {"embedding_size": 12, "hidden_size": 10, "attention_size": 6, "classifier_size": 8, **settings}
    network = BertBiLSTM(BertBiLSTMShape(vocabulary_size=len(bert_tokenizer()), **({"max_length": 512} | sizes)))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
    return network.eval()


def make_bert_bilstm(folder: Path, *, seed: int = 0, **settings: int | float | bool) -> Path:
    """Save such a BertBiLSTM and its tokenizer. Returns the folder."""
    tokenizer = bert_tokenizer(with_types=bool(settings.get("segments", True)))
    KIND.save(tiny_bert_bilstm(seed=seed, **settings), tokenizer, folder)
    return folder


def make_student(folder: Path, kind: str, **shape: object) -> Path:
    """Save a student of any kind, of a tiny transformer's size, as after some training. Returns the folder."""
    start = make_transformer(folder.with_name(f"start-of-{folder.name}"))
    student = build_student(KINDS[kind].shape(start=str(start), **{"max_length": 512, **shape}), seed=0)
    with torch.no_grad():
        torch.manual_seed(1)
        for parameter in student.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    student.save(folder)
    return folder
