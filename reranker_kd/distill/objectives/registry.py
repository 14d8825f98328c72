"""The losses by name, each an entry that says what it reads. Other packages add theirs by entry points."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from reranker_kd.distill.objectives import layer_losses, losses
from reranker_kd.distill.objectives.masked_language_model import masked_cross_entropy
from reranker_kd.distill.objectives.recording import LAYERS
from reranker_kd.errors import InputError
from reranker_kd.registry import Registry

GROUPS = frozenset({"scores", "teacher", "labels", "similarities"})
"""What losses over a query and its candidates read."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss: a pure function of tensors, and what it is called with, by keyword. It returns a scalar.

    ============================================== =================================================================
    reads                                          keywords
    ============================================== =================================================================
    ``scores``, and any of the next three          ``student`` and ``mask``, (q, c); with ``teacher`` among what it
                                                   reads, the mask leaves out what the teacher has no opinion of
    ``teacher``, ``labels``                        ``teacher``, ``labels``, (q, c)
    ``similarities``                               ``similarities`` (q, q * c), ``docids`` (q, c)
    one of :data:`LAYERS`, such as ``hidden``      ``student``, ``teacher``, ``token_mask`` (n, t), for each two
                                                   layers; the sum over these is the loss
    ``embeddings``                                 ``student`` (n, ds), ``teacher`` (n, dt), of length 1
    ``masked_tokens``                              ``student``, logits (n, vocabulary), ``labels`` (n,)
    ============================================== =================================================================

    :mod:`~reranker_kd.distill.objectives.losses` says more of the first three.

    :param function: its keyword-only arguments, numbers, are the options that a recipe may give
    :param reads: one row of the table, or ``scores`` with others
    :param projection: whether it also takes ``projection``, from the student's width to the teacher's, learnt along;
        it is given where the widths differ
    :raises InputError: what it reads is no such thing
    """

    function: Callable[..., Tensor]
    reads: tuple[str, ...]
    projection: bool = False

    def __post_init__(self) -> None:
        one = len(self.reads) == 1 and self.reads[0] in {*LAYERS, "embeddings", "masked_tokens"}
        if not one and not {"scores"} <= set(self.reads) <= GROUPS:
            raise InputError(
                f"a loss reads {', '.join(self.reads) or 'nothing'}: give one of {', '.join(LAYERS)}, embeddings, "
                "masked_tokens, or scores with any of teacher, labels, similarities"
            )

    @property
    def over(self) -> tuple[Literal["groups", "texts"], ...]:
        """Over what a stage may have it."""
        if "scores" in self.reads:
            return ("groups",)
        return ("groups", "texts") if self.reads[0] in LAYERS else ("texts",)

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher's scores, layers or embeddings enter it."""
        return bool({"teacher", "embeddings", *LAYERS}.intersection(self.reads))

    @property
    def options(self) -> dict[str, Any]:
        """Its options with their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}

    def check(self, options: Mapping[str, float]) -> None:
        """Call it with options on next to nothing, so that a wrong one is found before hours of scoring.

        :raises InputError: an option out of its range
        """
        two = torch.zeros(2, 2)
        # Of one text of two tokens: hidden states, or what has heads.
        tokens, heads = (
            {"student": each, "teacher": each, "token_mask": torch.ones(1, 2, dtype=torch.bool)}
            for each in (two[None], two[None, None])
        )
        examples: dict[str, dict[str, Tensor]] = {
            "scores": {"student": two, "mask": two == 0},
            "teacher": {"teacher": two},
            "labels": {"labels": two},
            "similarities": {"similarities": torch.zeros(2, 4), "docids": torch.arange(4).view(2, 2)},
            **dict.fromkeys(("embedding_layer", "hidden"), tokens),
            **dict.fromkeys(("attention", "relations"), heads),
            "embeddings": {"student": torch.eye(3), "teacher": torch.eye(3)},
            "masked_tokens": {"student": two, "labels": torch.zeros(2, dtype=torch.long)},
        }
        given = {name: tensor for reading in self.reads for name, tensor in examples[reading].items()}
        self.function(**given, **options)


_FROM_TEACHER = ("scores", "teacher")

LOSSES: Registry[Loss] = Registry(
    "loss",
    "reranker_kd.losses",
    {
        "soft_cross_entropy": Loss(losses.soft_cross_entropy, _FROM_TEACHER),
        "hard_cross_entropy": Loss(losses.hard_cross_entropy, ("scores", "labels")),
        "logit_mse": Loss(losses.logit_mse, _FROM_TEACHER),
        "margin_mse": Loss(losses.margin_mse, _FROM_TEACHER),
        "rank_kl": Loss(losses.rank_kl, _FROM_TEACHER),
        "ranknet": Loss(losses.ranknet, _FROM_TEACHER),
        "contrastive_kd": Loss(losses.contrastive_kd, ("scores", "teacher", "labels", "similarities")),
        "embedding": Loss(layer_losses.hidden_loss, ("embedding_layer",), projection=True),
        "hidden": Loss(layer_losses.hidden_loss, ("hidden",), projection=True),
        "attention": Loss(layer_losses.attention_loss, ("attention",)),
        "relation_kl": Loss(layer_losses.relation_kl, ("relations",)),
        "text_embedding": Loss(losses.text_embedding, ("embeddings",), projection=True),
        "text_similarity": Loss(losses.text_similarity, ("embeddings",)),
        "masked_language_model": Loss(masked_cross_entropy, ("masked_tokens",)),
    },
)
