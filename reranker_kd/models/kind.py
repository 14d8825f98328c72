"""What a kind of model is: a value. A new kind is a file that ends with one, and a line in :data:`KINDS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reranker_kd.models import own_layout
from reranker_kd.models.network import Network
from reranker_kd.models.settings import Framing
from reranker_kd.models.start import ModelStart, SavedStart


class Shape(BaseModel):
    """The shape of one model: the ``student`` section of a recipe, and ``config.json`` of the student's folder.

    :param kind: the kind's name
    :param start: the model whose vocabulary, and unless ``random``, whose weights it starts from; not kept on disk
    :param random: start from nothing but the vocabulary
    :param head: ``new``, or ``copied``: what is not the transformer is the start's too, a whole model of this kind
    :param weights: of the transformer, as it learns and is saved: ``float``, or rounded to one of
        :data:`~reranker_kd.models.low_bit.LEVELS`
    :param max_length: tokens of an input, special tokens included; None leaves it to the transformer
    :param dropout: in training; soft targets over many pairs leave little to regularise, and on a CPU it takes most of
        the time
    :param interpolate: weight of the first stage's z-scores beside the model's, where a user names none
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    start: str = ""
    random: bool = False
    head: Literal["new", "copied"] = "new"
    weights: Literal["float", "ternary", "loss-aware-ternary", "binary"] = "float"
    max_length: int | None = Field(default=160, ge=16)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    interpolate: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class TransformerShape(Shape):
    """The shape of a model around a transformer that comes out of a larger one.

    :param layers: how many layers, or which of the start's, counted from 1
    :param embedding_size: less than ``hidden_size`` factorises the embedding table
    """

    layers: int | tuple[int, ...] | None = None
    hidden_size: int | None = Field(default=None, ge=1)
    heads: int | None = Field(default=None, ge=1)
    intermediate_size: int | None = Field(default=None, ge=1)
    embedding_size: int | None = Field(default=None, ge=1)


Start = ModelStart | SavedStart
"""What a network is built from: another model, or the folder that it was saved in."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model.

    :param name: in recipes, under ``model_type`` in ``config.json``, in provenance
    :param reads: query and document together (``pairs``), or each apart (``texts``)
    :param shape: of one model
    :param build: from shape and start to a new network
    :param copies_head: whether ``build`` puts the start's head on a transformer of another shape
    :param framing: how the tokens of a pair are put together
    :param encoder: from a network to the transformer within, for losses over layers and as another student's start;
        gives None where there is none
    :param around: from a shape and the transformer of a teacher of another kind to a network that reads pairs as this
        kind does, for losses over layers; by default the transformer reads them itself
    :param transformers: the transformers that are saved each in a folder of its own, by its name
    :param recognises: whether a folder without our ``model_type`` holds this kind, by its files and ``config.json``
    :param reader: from kind and folder to a network in float32; by default :func:`~reranker_kd.models.own_layout.load`
    :param writer: of kind, network, tokenizer and folder; by default :func:`~reranker_kd.models.own_layout.save`
    :param opens_in: what else opens the folder of a network; empty where nothing does
    """

    name: str
    reads: Literal["pairs", "texts"]
    shape: type[Shape]
    build: Callable[[Any, Start], Network]
    copies_head: bool = False
    framing: Framing = "pair"
    encoder: Callable[[Any], Any] = lambda _: None
    around: Callable[[Any, Any], Any] = lambda _, transformer: transformer
    transformers: Callable[[Any], dict[str, Any]] = lambda _: {}
    recognises: Callable[[Path, dict[str, Any]], bool] = lambda _folder, _config: False
    reader: Callable[[Any, Path], Any] = own_layout.load
    writer: Callable[[Any, Any, Any, Path], None] = own_layout.save
    opens_in: Callable[[Any], str] = lambda _: ""

    def load(self, folder: Path) -> Any:
        """Return the network of a folder, in float32 and in evaluation mode.

        :raises ModelError: a broken folder, an unknown key, a wrong value, or weights that do not fit
        """
        return self.reader(self, folder).eval()

    def save(self, network: Any, tokenizer: Any, folder: Path) -> None:
        """Write a network and its tokenizer into a folder.

        :raises ModelError: what this kind's folder has no place for
        """
        self.writer(self, network, tokenizer, folder)
