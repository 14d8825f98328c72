"""The published distillation methods, each by the stages that make it that method. A new one is an entry here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reranker_kd.distill.objectives import losses
from reranker_kd.distill.objectives.embedding_losses import EMBEDDING_LOSSES
from reranker_kd.distill.objectives.layer_losses import LAYER_LOSSES
from reranker_kd.errors import InputError

MASKED_LANGUAGE_MODEL = "masked_language_model"
"""The one objective that needs no teacher: masked tokens are predicted from the others (Devlin et al. 2019)."""


class LossTerm(BaseModel):
    """A share of a stage's loss.

    :param weight: by which it is multiplied
    :param options: what the loss itself takes, such as ``temperature``
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(default=1.0, gt=0)
    options: dict[str, float] = Field(default_factory=dict)


class Stage(BaseModel):
    """A stretch of training.

    :param over: ``groups`` of the transfer set, or single ``texts`` of its documents (for losses over layers alone)
    :param losses: by their names; a number stands for its weight
    :param layer_mapping: ``uniform``, ``last``, or the teacher's layers
    :param steps: updates of the weights; None takes the recipe's
    :param learning_rate: at its peak; None takes the recipe's
    :param batch_groups: groups, or texts, of an update; None takes the recipe's
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    over: Literal["groups", "texts"] = "groups"
    losses: dict[str, LossTerm] = Field(min_length=1)
    layer_mapping: Literal["uniform", "last"] | tuple[int, ...] = "uniform"
    steps: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    batch_groups: int | None = Field(default=None, ge=1)

    @field_validator("losses", mode="before")
    @classmethod
    def _weights(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        terms = {}
        for name, term in value.items():
            if name not in KNOWN_LOSSES:
                raise ValueError(f"no loss {name!r}; known: {', '.join(sorted(KNOWN_LOSSES))}")
            if isinstance(term, int | float) and not isinstance(term, bool):
                term = {"weight": term}
            elif isinstance(term, dict):
                options = {key: given for key, given in term.items() if key not in ("weight", "options")}
                term = {
                    **{k: v for k, v in term.items() if k not in options},
                    "options": options | term.get("options", {}),
                }
            for option in term.get("options", {}) if isinstance(term, dict) else ():
                if option not in (known := loss_options(name)):
                    raise ValueError(f"{name} has no option {option!r}; known: {', '.join(known) or 'none'}")
            terms[name] = term
        return terms

    @model_validator(mode="after")
    def _fits_what_it_is_over(self) -> Stage:
        over_texts = {*LAYER_LOSSES, *EMBEDDING_LOSSES, MASKED_LANGUAGE_MODEL}
        over_groups = {*losses.LOSSES, *LAYER_LOSSES}
        wrong = [name for name in self.losses if name not in (over_texts if self.over == "texts" else over_groups)]
        if wrong:
            other = "groups" if self.over == "texts" else "texts"
            raise ValueError(f"{wrong[0]} is a loss over {other}: give it a stage of its own, over: {other}")
        for name, term in self.losses.items():
            _try_options(name, term.options)
        return self

    @property
    def layer_losses(self) -> dict[str, LossTerm]:
        """The losses over layers."""
        return {name: term for name, term in self.losses.items() if name in LAYER_LOSSES}

    @property
    def embedding_losses(self) -> dict[str, LossTerm]:
        """The losses over embeddings of single texts."""
        return {name: term for name, term in self.losses.items() if name in EMBEDDING_LOSSES}


KNOWN_LOSSES = {*losses.LOSSES, *LAYER_LOSSES, *EMBEDDING_LOSSES, MASKED_LANGUAGE_MODEL}
"""Every loss that a stage may name."""


def loss_options(name: str) -> dict[str, Any]:
    """Return the options of a loss with their defaults."""
    if name in losses.LOSSES:
        return losses.options(name)
    return {"temperature": 0.05} if name == "text_similarity" else {}


def _try_options(name: str, options: dict[str, float]) -> None:
    """Apply a loss to nothing, so that it checks its options before hours of scoring."""
    two = torch.zeros((2, 2))
    try:
        if name in losses.LOSSES:
            given = dict.fromkeys(losses.targets(name), two)
            losses.LOSSES[name](student=two, mask=two == 0, **given, **options)
        elif name in EMBEDDING_LOSSES:
            EMBEDDING_LOSSES[name](torch.eye(3), torch.eye(3), **options)
    except InputError as error:
        raise ValueError(f"losses.{name}: {error}") from None


@dataclass(frozen=True, slots=True)
class Method:
    """A distillation method.

    :param source: where it was published
    :param students: the kinds of student that it is made for; none named takes any
    :param stages: one after the other
    """

    source: str
    stages: tuple[Stage, ...]
    students: tuple[str, ...] = ()


def _stage(**losses_and_settings: Any) -> Stage:
    settings = {key: losses_and_settings.pop(key) for key in ("over", "layer_mapping") if key in losses_and_settings}
    return Stage(losses=losses_and_settings, **settings)


_LAYERS = {"embedding": 1.0, "hidden": 1.0, "attention": 1.0}

METHODS: dict[str, Method] = {
    "standard-kd": Method(
        "Hinton et al. 2015; Tang et al. 2019",
        (_stage(soft_cross_entropy={"weight": 0.5, "temperature": 2.0}, hard_cross_entropy=0.5),),
    ),
    "tinybert": Method(
        "Jiao et al. 2020, section 3.2: the layers first, then the prediction",
        (_stage(**_LAYERS), _stage(soft_cross_entropy=1.0)),
        ("cross-encoder", "gated-cross-encoder"),
    ),
    "simplified-tinybert": Method(
        "Chen et al. 2021, section 3: both in one step, hard labels beside the soft ones",
        (_stage(**_LAYERS, soft_cross_entropy=1.0, hard_cross_entropy=1.0),),
        ("cross-encoder", "gated-cross-encoder"),
    ),
    "bert-bilstm": Method(
        "Dahlmann and Lancewicki 2021: logits matched on an enlarged transfer set",
        (_stage(logit_mse=1.0),),
        ("bert-bilstm",),
    ),
    "twinbert": Method(
        "Lu, Jiao and Zhang 2020, section 3.4: a two-tower student from a cross-encoder's soft labels",
        (_stage(soft_cross_entropy=1.0),),
        ("twin",),
    ),
    "margin-mse": Method("Hofstätter et al. 2020", (_stage(margin_mse=1.0),)),
    "rank-kl": Method("listwise: the teacher's softmax over a query's candidates", (_stage(rank_kl=1.0),)),
    "ranknet": Method("Burges et al. 2005, on the teacher's order", (_stage(ranknet=1.0),)),
    "list-mse": Method("squared error of centred scores", (_stage(list_mse=1.0),)),
    "embedding-kd": Method(
        "Reimers and Gurevych 2020: the teacher's embeddings, text by text; then its scores",
        (_stage(over="texts", text_embedding=1.0), _stage(rank_kl={"weight": 1.0, "temperature": 1.0})),
        ("twin",),
    ),
    "contrastive-kd": Method(
        "in-batch negatives beside the teacher's scores (Lin et al. 2021)",
        (_stage(contrastive_kd={"weight": 1.0, "alpha": 0.5}),),
        ("twin",),
    ),
}
"""Methods by the name that a recipe gives."""

GENERAL = _stage(over="texts", **_LAYERS)
"""General distillation (TinyBERT, section 3.2.1): the layers alone, on texts without a task."""

DOMAIN_PRETRAINING = _stage(over="texts", **{MASKED_LANGUAGE_MODEL: 1.0})
"""Domain pre-training (BertBiLSTM's teacher): masked language modelling on the collection's own texts."""
