"""Recipes: a retrieve-rerank-evaluate experiment declared in YAML, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from reranker_kd.errors import InputError, ModelError, RecipeError
from reranker_kd.formats.recipe_file import beside, read_yaml
from reranker_kd.rerank.cascade import stages_of, tag_of
from reranker_kd.rerank.options import RerankOptions
from reranker_kd.retrieve.lucene import SearchSettings
from reranker_kd.sections import Section, checked


class Output(Section):
    """How a run is written."""

    hits: int = Field(default=1000, ge=1, description="Documents of each query at most.")
    output_format: Literal["trec", "msmarco"] = Field(default="trec", description="Format of the run.")
    tag: str | None = Field(default=None, description="Run tag.  [default: the name of what made the run]")


class Retrieval(SearchSettings, Output):
    """The first stage."""


class Reranking(RerankOptions, Output):
    """One reranked run."""

    model: str | tuple[str, ...]
    embeddings: str | None = Field(
        default=None,
        description="Precomputed embeddings of the documents, by reranker-kd encode or Pyserini: no text is read or "
        "encoded.",
        json_schema_extra={"metavar": "DIR"},
    )
    name: str | None = Field(default=None, pattern=r"^[\w.+-]+$")
    depth: int | None = Field(
        default=None,
        ge=1,
        description="Candidates to rerank for each query.  [default: what the first stage of a cascade says, or 100]",
    )
    budget_ms: float | None = Field(
        default=None,
        gt=0,
        description="Milliseconds a query: lowers the depth, or leaves the last stages of a cascade out, as measured "
        "on the first queries.",
    )

    @field_validator("model")
    @classmethod
    def _is_a_model_or_a_cascade(cls, model: str | tuple[str, ...]) -> str | tuple[str, ...]:
        try:
            stages_of(model)
        except ModelError as error:
            raise ValueError(str(error)) from None
        return model

    @property
    def run_name(self) -> str:
        """What the run is called: the given name, or the last part of the model's."""
        return self.name or tag_of(self.model)

    @property
    def full_depth(self) -> int:
        """How many candidates are reranked: as many as asked for, or as a cascade's first stage says, or 100."""
        return self.depth or stages_of(self.model)[0].depth or 100


class Measuring(Section):
    """What is measured; ``relevance_level`` is trec_eval's ``-l``."""

    measures: tuple[str, ...] = ("nDCG@10", "AP", "RR@10", "R@100", "Judged@10")
    relevance_level: int = Field(default=1, ge=1)


class Recipe(Section):
    """An experiment from topics to figures.

    Texts come from ``index``, or from ``collection``, which is indexed first unless ``candidates`` is given.
    Candidates come from the run ``candidates``, or are retrieved from the index.
    """

    topics: str
    topics_format: Literal["tsv", "trec", "xml", "jsonl"] | None = None
    qrels: str | None = None
    index: str | None = None
    collection: str | None = None
    candidates: str | None = None
    retrieve: Retrieval = Retrieval()
    rerank: tuple[Reranking, ...] = ()
    evaluate: Measuring = Measuring()

    @model_validator(mode="after")
    def _documents_come_from_one_place(self) -> Recipe:
        if (self.index is None) == (self.collection is None):
            if self.index is not None or not self.candidates:
                raise ValueError("give index or collection, one of the two")
            if not self.rerank or any(reranking.embeddings is None for reranking in self.rerank):
                raise ValueError("give index or collection, one of the two, or the embeddings of each reranking")
        # Texts are fetched from the index by threads too.
        idle = sorted(self.retrieve.changed().keys() - {"threads"})
        if self.candidates and idle:
            raise ValueError(f"retrieve.{idle[0]} has no effect beside candidates: leave out one of the two")
        names = [reranking.run_name for reranking in self.rerank]
        if len(set(names)) < len(names):
            raise ValueError(f"rerank: two runs are called {max(names, key=names.count)}; give each a name of its own")
        return self


def read_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Return a checked recipe.

    ``${NAME}`` and ``${NAME:-default}`` are replaced by environment variables. Paths of files are taken from the
    recipe's own folder, unless they are absolute; what is no file there is left as a name.

    :param path: a YAML file
    :param changes: ``key=value`` with dots into sections (``retrieve.k1=1.2``, ``rerank.0.depth=50``), values in YAML
    :raises RecipeError: no such file, broken YAML, an unknown key or a wrong value, named by its key
    """
    path = Path(path)
    content = read_yaml(path, changes)
    beside(path.parent, content, ("topics", "qrels", "index", "collection", "candidates"))
    for reranking in content.get("rerank") or ():
        if isinstance(reranking, dict):
            beside(path.parent, reranking, ("embeddings",))
    try:
        return checked(Recipe, content)
    except InputError as error:
        raise RecipeError(f"{path}: {error}") from None
