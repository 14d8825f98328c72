"""What one client may ask of the service, so that none can take it from the others."""

from __future__ import annotations

from pydantic import Field

from reranker_kd.sections import Section

CANDIDATES_CEILING = 10_000
"""Candidates of a request that no configuration may exceed: requests are checked up to there before all else."""


class Limits(Section):
    """Bounds of a request, and of all requests together. The descriptions are those of the command line's options."""

    max_candidates: int = Field(
        default=1000, ge=1, le=CANDIDATES_CEILING, description="Documents of a request; also hits and depth."
    )
    max_body_bytes: int = Field(default=8 * 2**20, ge=1, description="Bytes of a request.")
    max_text_chars: int = Field(default=20_000, ge=1, description="Characters of a text that a client sends.")
    max_query_chars: int = Field(default=1000, ge=1, description="Characters of a query.")
    max_concurrent: int = Field(default=64, ge=1, description="Requests at once, arriving ones included; more get 503.")
    timeout_s: float = Field(default=60.0, gt=0, description="Seconds until an answer must be ready.")
    body_timeout_s: float = Field(default=10.0, gt=0, description="Seconds until a request must have arrived.")
