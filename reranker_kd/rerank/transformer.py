"""What cross- and bi-encoders share: a folder, its tokenizer, the network on its runner, how long documents go in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reranker_kd.inference.backends.registry import ScoringNetwork
from reranker_kd.inference.loading import EngineSettings, describe_engine, engine_of_export, engine_of_network
from reranker_kd.inference.pair_tokenizer import PairTokenizer, TokenSequence
from reranker_kd.models.exported import Exportable, SavedTokenizer, read_export
from reranker_kd.models.folder import checked_length, content_hash
from reranker_kd.rerank.base import Pair, Reranker
from reranker_kd.rerank.long_documents import LongDocuments


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network out of a model's folder.

    :param network: from token arrays to scores or embeddings
    :param config: the configuration of its transformer
    :param own_length: tokens of an input that the model's author set; None leaves it to the transformer's limit
    """

    network: ScoringNetwork
    config: Any
    own_length: int | None = None


class TransformerReranker(Reranker):
    """A transformer from a folder that ``save_pretrained``, sentence-transformers or ``reranker-kd export`` wrote.

    :param folder: holds weights (safetensors), configuration and tokenizer, or an exported model
    :param name: by what name the model was asked for
    :param max_length: tokens of an input, special tokens included; None takes the model's own limit
    :param long_documents: how :meth:`rerank` treats documents that do not fit
    :param batch_tokens: tokens of a batch, padding included; None takes what suits the backend
    :param device: a torch device; None takes a GPU where there is one
    :param precision: ``float32``, ``bfloat16``, or ``auto`` for bfloat16 where the device computes in it; scores are
        float32 whatever it is. None takes float32, or what an exported model was exported for
    :param backend: ``torch``, ``openvino``, ``onnxruntime``, or ``auto`` for the fastest that is installed. None takes
        torch, or what an exported model was exported for
    :raises ModelError: the model cannot be loaded
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str | None = None,
        max_length: int | None = None,
        long_documents: LongDocuments | None = None,
        batch_tokens: int | None = None,
        device: str | None = None,
        precision: str | None = None,
        backend: str | None = None,
    ) -> None:
        self.name = name or folder.name
        self.folder = folder
        self._long_documents = long_documents or LongDocuments()
        asked = EngineSettings(batch_tokens, device, precision, backend)
        export = read_export(folder)
        if export is not None:
            self._tokenizer = self._pair_tokenizer(SavedTokenizer(folder, export))
            self.max_length = checked_length(max_length or export.own_length, export.limit, folder)
            self._engine = engine_of_export(folder, export, "network", self._tokenizer, asked)
            return
        from reranker_kd.models.loading import load_tokenizer, longest_input

        loaded = self._load(folder)
        tokenizer = load_tokenizer(folder)
        limit = longest_input(loaded.config, tokenizer)
        self.max_length = checked_length(max_length or loaded.own_length, limit, folder)
        self._tokenizer = self._pair_tokenizer(tokenizer)
        self._engine = engine_of_network(loaded.network, self._tokenizer, asked)

    def exportable(self) -> Exportable:
        """Load the network anew, in float32, with what an export says of it."""
        from reranker_kd.models.loading import load_tokenizer, longest_input

        loaded = self._load(self.folder)
        tokenizer = load_tokenizer(self.folder)
        return Exportable(
            {"network": loaded.network},
            tokenizer,
            self._tokenizer.has_types,
            longest_input(loaded.config, tokenizer),
            loaded.own_length,
        )

    @abstractmethod
    def sequences(self, pairs: Sequence[Pair]) -> dict[str, list[TokenSequence]]:
        """Return what each network gets for these pairs, by its name in an export."""

    @abstractmethod
    def _load(self, folder: Path) -> LoadedNetwork:
        """Load the network of a folder, and what else the kind of model keeps there."""

    def _pair_tokenizer(self, tokenizer: Any) -> PairTokenizer:
        """Return what frames texts and pairs; by default as the tokenizer itself does."""
        return PairTokenizer(tokenizer)

    def describe(self) -> dict[str, Any]:
        """Return name, content hash and parameters."""
        return {
            **super().describe(),
            "name": self.name,
            "sha256": content_hash(self.folder),
            "max_length": self.max_length,
            "long_documents": asdict(self._long_documents),
            **describe_engine(self._engine),
        }
