"""What clients send and get, as JSON."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from reranker_kd.serve.limits import CANDIDATES_CEILING


def _encodable(text: str) -> str:
    # JSON can hold half of a surrogate pair; tokenizers and the answer's own encoding cannot.
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair: write the character in UTF-8") from None
    return text


Text = Annotated[str, AfterValidator(_encodable)]
Docid = Annotated[Text, Field(min_length=1, max_length=512)]
Count = Annotated[int, Field(ge=1, le=CANDIDATES_CEILING)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Document(_Request):
    """A document with its text."""

    docid: Docid
    text: Text


class RerankRequest(_Request):
    """Candidates of a query, best first, to be put into a model's order."""

    query: Text = Field(description="The query's text.")
    candidates: Annotated[list[Document | Docid], Field(min_length=1, max_length=CANDIDATES_CEILING)] = Field(
        description="Documents with their texts, or docids of the index."
    )
    model: Text = Field(description="A name out of /models.")
    depth: Count | None = Field(
        None, description="How many candidates are reranked; those below keep their order after them. All by default."
    )


class SearchRequest(_Request):
    """A query to be searched by BM25, and its hits reranked where a model is named."""

    query: Text = Field(description="The query's text.")
    hits: Count | None = Field(None, description="How many documents to return; 10 by default.")
    model: Text | None = Field(None, description="A name out of /models; BM25's order by default.")
    depth: Count | None = Field(None, description="How many of BM25's documents the model reranks; 100 by default.")


class Ranked(BaseModel):
    """A document in its place."""

    rank: int = Field(description="From 1.")
    docid: str
    score: float


class Hit(Ranked):
    """A document in its place, with its text."""

    text: str


class RerankAnswer(BaseModel):
    """The candidates in the model's order."""

    model: str
    ranking: list[Ranked]
    milliseconds: dict[str, float] = Field(
        description="texts: fetching them; waiting: until a batch began; reranking: of that batch."
    )


class SearchAnswer(BaseModel):
    """The hits, best first."""

    model: str | None
    ranking: list[Hit]
    milliseconds: dict[str, float] = Field(description="As of /rerank, and retrieving: BM25.")


class ModelsAnswer(BaseModel):
    """What this service has."""

    models: list[dict[str, Any]] = Field(description="Each with its name and what identifies it.")
    documents: int | None = Field(description="Documents in the index; null without an index.")
    limits: dict[str, int | float]
    examples: list[str] = Field(description="Queries to begin with.")


class Health(BaseModel):
    """Given when requests are taken."""

    status: str
    version: str


class Fault(BaseModel):
    """Why a request was not answered."""

    error: str


class RefusedError(HTTPException):
    """A request that is not answered as it stands.

    :param status: the HTTP status, 4xx or 503 or 504
    :param fault: one line: what is wrong and what to do about it
    """

    def __init__(self, status: int, fault: str) -> None:
        # After a 408 the rest of the request is of no use.
        headers = {503: {"Retry-After": "1"}, 408: {"Connection": "close"}}
        super().__init__(status, fault, headers.get(status))
