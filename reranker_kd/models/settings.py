"""What is known of a model's inputs without its network: exported models are run by these alone, without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

Framing = Literal["pair", "each"]
"""How two texts become one sequence: as the tokenizer frames a pair, or each framed as if it stood alone."""


class TextSettings(BaseModel):
    """How a model that reads texts apart takes them, and how it compares their embeddings.

    :param crossing: ``cosine``, ``dot`` or ``residual``
    :param max_query_length: tokens of a query, special tokens included; None takes the transformer's limit
    :param max_length: tokens of a document, likewise
    :param query_prompt: put before each query
    :param document_prompt: put before each document
    """

    model_config = ConfigDict(frozen=True)

    crossing: Literal["cosine", "dot", "residual"] = "cosine"
    max_query_length: int | None = Field(default=None, ge=4)
    max_length: int | None = Field(
        default=None, ge=4, validation_alias=AliasChoices("max_length", "max_document_length")
    )
    query_prompt: str = ""
    document_prompt: str = ""


class Inputs(BaseModel):
    """What is known of a model's inputs and outputs, so that it can be run without the model's own code.

    :param kind: the kind's name
    :param reads: what the kind reads
    :param framing: how it has pairs framed
    :param limit: tokens that an input takes at most, special tokens included
    :param own_length: tokens of an input that the model's author set
    :param texts: of a model that reads texts, how it takes and compares them
    :param dimension: of its embeddings
    :param interpolate: weight of the first stage's z-scores that its author found best
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    reads: Literal["pairs", "texts"]
    framing: Framing
    limit: int
    own_length: int | None = None
    texts: TextSettings | None = Field(default=None, validation_alias=AliasChoices("texts", "twin"))
    dimension: int | None = None
    interpolate: float = 0.0
