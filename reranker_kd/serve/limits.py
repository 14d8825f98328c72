"""What one client may ask of the service, so that none can take it from the others."""

from __future__ import annotations

from dataclasses import dataclass

CANDIDATES_CEILING = 10_000
"""Candidates of a request that no configuration may exceed: requests are checked up to there before all else."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request, and of all requests together.

    :param candidates: documents of a request, hits and depth included; at most :data:`CANDIDATES_CEILING`
    :param body_bytes: bytes of a request's body
    :param text_chars: characters of a candidate's text
    :param query_chars: characters of a query
    :param concurrent: requests that are worked on or wait for a model; more are told to come again
    :param answer_s: seconds until an answer must be ready
    :param body_s: seconds until a request must have arrived, headers and body each
    """

    candidates: int = 1000
    body_bytes: int = 8 * 2**20
    text_chars: int = 20_000
    query_chars: int = 1000
    concurrent: int = 64
    answer_s: float = 60.0
    body_s: float = 10.0


class RefusedError(Exception):
    """A request that is not answered as it stands.

    :param status: the HTTP status, 4xx or 503 or 504
    :param fault: one line: what is wrong and what to do about it
    """

    def __init__(self, status: int, fault: str) -> None:
        self.status = status
        self.fault = fault
        super().__init__(status, fault)

    def headers(self) -> dict[str, str]:
        """Return the headers that go with the status."""
        return {"Retry-After": "1"} if self.status == 503 else {}
