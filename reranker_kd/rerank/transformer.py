"""What cross- and bi-encoders share: a folder, its tokenizer, the network on its runner, how long documents go in."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reranker_kd.inference.pair_tokenizer import PairTokenizer
from reranker_kd.inference.torch_runner import DEFAULT_BATCH_TOKENS, ScoringNetwork, TorchRunner
from reranker_kd.models.folder import content_hash
from reranker_kd.models.loading import checked_length, load_tokenizer, longest_input
from reranker_kd.rerank.base import Reranker
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
    """A transformer from a folder that ``save_pretrained`` or sentence-transformers wrote.

    :param folder: holds weights (safetensors), configuration and tokenizer
    :param name: by what name the model was asked for
    :param max_length: tokens of an input, special tokens included; None takes the model's own limit
    :param long_documents: how :meth:`rerank` treats documents that do not fit
    :param batch_tokens: tokens of a batch, padding included
    :param device: a torch device; None takes a GPU where there is one
    :param precision: ``float32``, ``bfloat16``, or ``auto`` for bfloat16 where the device computes in it; scores are
        float32 whatever it is
    :raises ModelError: the model cannot be loaded
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str | None = None,
        max_length: int | None = None,
        long_documents: LongDocuments | None = None,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        device: str | None = None,
        precision: str = "float32",
    ) -> None:
        loaded = self._load(folder)
        tokenizer = load_tokenizer(folder)
        self.name = name or folder.name
        self.folder = folder
        limit = longest_input(loaded.config, tokenizer)
        self.max_length = checked_length(max_length or loaded.own_length, limit, folder)
        self._long_documents = long_documents or LongDocuments()
        self._tokenizer = self._pair_tokenizer(tokenizer)
        self._runner = TorchRunner(
            loaded.network,
            pad_id=self._tokenizer.pad_id,
            with_types=self._tokenizer.has_types,
            batch_tokens=batch_tokens,
            device=device,
            precision=precision,
        )

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
            "precision": str(self._runner.precision).removeprefix("torch."),
            "device": str(self._runner.device),
        }
