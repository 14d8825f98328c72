"""What a user may ask of a reranker that is a model: the keywords of ``load_reranker``."""

from __future__ import annotations

from pydantic import Field

from reranker_kd.inference.options import ModelOptions
from reranker_kd.rerank.long_documents import LongDocuments


class RerankOptions(ModelOptions, LongDocuments):
    """What a user may ask of a reranker that is a model: how it runs, how it reads, and what counts beside it."""

    interpolate: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the first stage's z-scores, which are added to the model's; 0 for the model alone.  "
        "[default: the weight on the model's card, or 0]",
    )
