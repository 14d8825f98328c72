"""The published distillation methods, each by the stages that make it that method. A new one is an entry here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from reranker_kd.distill.objectives.registry import LOSSES
from reranker_kd.errors import InputError
from reranker_kd.registry import Registry
from reranker_kd.sections import Section

ScheduleName = Literal["linear", "constant"]
"""What a learning rate does after its warm-up: it falls to 0 in a line, or stays."""


class LossTerm(Section):
    """A share of a stage's loss.

    :param weight: by which it is multiplied
    :param options: what the loss itself takes, such as ``temperature``
    """

    weight: float = Field(default=1.0, gt=0)
    options: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, term: Any) -> Any:
        """Take a number for the weight, and what is no key of its own for an option."""
        if isinstance(term, int | float) and not isinstance(term, bool):
            return {"weight": term}
        if not isinstance(term, dict) or not isinstance(own := term.get("options", {}), dict):
            return term
        options = {key: given for key, given in term.items() if key not in cls.model_fields} | own
        return {**{key: term[key] for key in ("weight",) if key in term}, "options": options}


class Stage(Section):
    """A stretch of training.

    :param over: ``groups`` of the transfer set, or single ``texts`` of its documents (for losses over layers alone)
    :param losses: by their names; a number stands for its weight
    :param layer_mapping: ``uniform``, ``last``, or the teacher's layers
    :param steps: updates of the weights; None takes the recipe's
    :param learning_rate: at its peak; None takes the recipe's
    :param warmup: share of the stage in which the learning rate rises; None takes the recipe's
    :param schedule: what the learning rate does after that; None takes the recipe's
    :param batch_groups: groups, or texts, of an update; None takes the recipe's
    """

    over: Literal["groups", "texts"] = "groups"
    losses: dict[str, LossTerm] = Field(min_length=1)
    layer_mapping: Literal["uniform", "last"] | tuple[int, ...] = "uniform"
    steps: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    warmup: float | None = Field(default=None, ge=0, le=1)
    schedule: ScheduleName | None = None
    batch_groups: int | None = Field(default=None, ge=1)

    @field_validator("losses")
    @classmethod
    def _known_losses_and_options(cls, losses: dict[str, LossTerm]) -> dict[str, LossTerm]:
        for name, term in losses.items():
            try:
                loss = LOSSES[name]
            except InputError as error:
                raise ValueError(str(error)) from None
            for option in term.options:
                if option not in loss.options:
                    raise ValueError(f"{name} has no option {option!r}; known: {', '.join(loss.options) or 'none'}")
            if term.options:
                try:
                    loss.check(term.options)
                except InputError as error:
                    raise ValueError(f"{name}: {error}") from None
        return losses

    @model_validator(mode="after")
    def _fits_what_it_is_over(self) -> Stage:
        for name in self.losses:
            if self.over not in LOSSES[name].over:
                (other,) = LOSSES[name].over
                raise ValueError(f"{name} is a loss over {other}: give it a stage of its own, over: {other}")
        return self

    @property
    def reads(self) -> frozenset[str]:
        """What its losses read, all together."""
        return frozenset(reading for name in self.losses for reading in LOSSES[name].reads)

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher's scores, layers or embeddings enter a loss."""
        return any(LOSSES[name].needs_teacher for name in self.losses)


@dataclass(frozen=True, slots=True)
class Method:
    """A distillation method.

    :param source: where it was published
    :param reads: whether its student reads query and document together (``pairs``) or each apart (``texts``)
    :param stages: one after the other, with the learning rates and schedules of the source where they are known
    """

    source: str
    stages: tuple[Stage, ...]
    reads: Literal["pairs", "texts"] | None = None


def _stage(over: Literal["groups", "texts"] = "groups", training: dict[str, Any] | None = None, **losses: Any) -> Stage:
    return Stage(over=over, losses=losses, **(training or {}))


_LAYERS: dict[str, Any] = {"embedding": 1.0, "hidden": 1.0, "attention": 1.0}

METHODS: Registry[Method] = Registry(
    "method",
    "reranker_kd.methods",
    {
        "standard-kd": Method(
            "Hinton et al. 2015; Tang et al. 2019",
            (_stage(soft_cross_entropy={"weight": 0.5, "temperature": 2.0}, hard_cross_entropy=0.5),),
        ),
        "tinybert": Method(
            "Jiao et al. 2020, section 3.2: the layers first, then the prediction",
            (
                _stage(training={"learning_rate": 5e-5, "warmup": 0.0, "schedule": "constant"}, **_LAYERS),
                _stage(training={"learning_rate": 3e-5, "warmup": 0.1}, soft_cross_entropy=1.0),
            ),
            "pairs",
        ),
        "simplified-tinybert": Method(
            "Chen et al. 2021, section 3: both in one step, hard labels beside the soft ones",
            # Their code's soft loss is the mean over both classes: half of ours, which is their sum.
            (
                _stage(
                    training={"learning_rate": 5e-5, "warmup": 0.1},
                    **_LAYERS,
                    soft_cross_entropy=0.5,
                    hard_cross_entropy=1.0,
                ),
            ),
            "pairs",
        ),
        "ternarybert": Method(
            "Zhang et al. 2020, section 3.2: layers and prediction in one step, for a student of ternary weights",
            (_stage(training={"learning_rate": 2e-5, "warmup": 0.1}, **_LAYERS, soft_cross_entropy=1.0),),
            "pairs",
        ),
        "binarybert": Method(
            "Bai et al. 2020, section 3.2: the layers first, then the prediction, for a ternary student that is split",
            (
                _stage(training={"learning_rate": 1.25e-4, "warmup": 0.1}, hidden=1.0, attention=1.0),
                _stage(training={"learning_rate": 5e-5, "warmup": 0.1}, soft_cross_entropy=1.0),
            ),
            "pairs",
        ),
        "bert-bilstm": Method(
            "Dahlmann and Lancewicki 2021: logits matched on an enlarged transfer set",
            (_stage(logit_mse=1.0),),
            "pairs",
        ),
        "twinbert": Method(
            "Lu, Jiao and Zhang 2020, section 3.4: a two-tower student from a cross-encoder's soft labels",
            (_stage(soft_cross_entropy=1.0),),
            "texts",
        ),
        "margin-mse": Method(
            "Hofstätter et al. 2020",
            (_stage(training={"learning_rate": 7e-6, "schedule": "constant"}, margin_mse=1.0),),
        ),
        "rank-kl": Method("listwise: the teacher's softmax over a query's candidates", (_stage(rank_kl=1.0),)),
        "ranknet": Method("Burges et al. 2005, on the teacher's order", (_stage(ranknet=1.0),)),
        "embedding-kd": Method(
            "Reimers and Gurevych 2020: the teacher's embeddings, text by text; then its scores",
            (_stage(over="texts", text_embedding=1.0), _stage(rank_kl={"weight": 1.0, "temperature": 1.0})),
            "texts",
        ),
        "contrastive-kd": Method(
            "in-batch negatives beside the teacher's scores (Lin et al. 2021)",
            (_stage(contrastive_kd={"weight": 1.0, "alpha": 0.5}),),
            "texts",
        ),
    },
)
"""Methods by the name that a recipe gives."""

GENERAL = _stage(over="texts", **_LAYERS)
"""General distillation (TinyBERT, section 3.2.1): the layers alone, on texts without a task."""

DOMAIN_PRETRAINING = _stage(over="texts", masked_language_model=1.0)
"""Domain pre-training (BertBiLSTM's teacher): masked language modelling on the collection's own texts."""
