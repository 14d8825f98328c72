"""Recipes: a retrieve-rerank-evaluate experiment declared in YAML, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from reranker_kd.errors import ModelError, RecipeError
from reranker_kd.formats.recipe_file import beside, first_fault, read_yaml
from reranker_kd.rerank.cascade import stages_of, tag_of
from reranker_kd.rerank.early_stopping import StoppingRule


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Retrieval(_Section):
    """The first stage; names and defaults are those of ``reranker-kd retrieve``."""

    hits: int = Field(default=1000, ge=1)
    k1: float | None = None
    b: float | None = None
    rm3: bool = False
    rocchio: bool = False
    qld: bool = False
    fields: dict[str, float] = Field(default_factory=dict)
    language: str = "en"
    threads: int = Field(default=2, ge=1)


class Reranking(_Section):
    """One reranked run; names and defaults are those of ``reranker-kd rerank``."""

    model: str | tuple[str, ...]
    embeddings: str | None = None
    name: str | None = Field(default=None, pattern=r"^[\w.+-]+$")
    depth: int | None = Field(default=None, ge=1)
    early_stopping: int | None = Field(default=None, ge=1)
    stopping_margin: float = StoppingRule().margin
    budget_ms: float | None = Field(default=None, gt=0)
    max_length: int | None = Field(default=None, ge=1)
    long_documents: Literal["maxp", "firstp", "meanp", "topk"] = "maxp"
    passage_length: int | None = Field(default=None, ge=1)
    passage_stride: int | None = Field(default=None, ge=1)
    top_passages: int = Field(default=3, ge=1)
    device: str | None = None
    precision: Literal["float32", "bfloat16", "int8", "auto"] | None = None
    backend: Literal["torch", "openvino", "onnxruntime", "auto"] | None = None

    @field_validator("model")
    @classmethod
    def _is_a_model_or_a_cascade(cls, model: str | tuple[str, ...]) -> str | tuple[str, ...]:
        try:
            stages_of(model)
        except ModelError as error:
            raise ValueError(str(error)) from None
        return model


class Measuring(_Section):
    """What is measured; ``relevance_level`` is trec_eval's ``-l``."""

    measures: tuple[str, ...] = ("nDCG@10", "AP", "RR@10", "R@100", "Judged@10")
    relevance_level: int = Field(default=1, ge=1)


class Recipe(_Section):
    """An experiment from topics to figures.

    Documents come from ``index``, or from ``collection``, which is indexed first unless ``candidates`` is given.
    Candidates come from the run ``candidates``, or are retrieved from the index.
    """

    topics: str
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
            raise ValueError("give index or collection, one of the two")
        names = [run_name(reranking) for reranking in self.rerank]
        if len(set(names)) < len(names):
            raise ValueError(f"rerank: two runs are called {max(names, key=names.count)}; give each a name of its own")
        return self


def run_name(reranking: Reranking) -> str:
    """Return the name of a reranked run: the given one, or the last part of the model's name."""
    return reranking.name or tag_of(reranking.model)


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
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{path}: {first_fault(error)}") from None
