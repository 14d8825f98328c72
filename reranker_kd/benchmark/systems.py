"""What is set side by side: a model on a backend of ours, or in another library."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reranker_kd.errors import InputError
from reranker_kd.inference.options import full_precision
from reranker_kd.models.exported import Export, read_export
from reranker_kd.models.folder import content_hash
from reranker_kd.models.kinds import kind_of
from reranker_kd.models.registry import local_folder


@dataclass(frozen=True, slots=True)
class System:
    """A model and what runs it.

    :param model: a folder or a name
    :param backend: a backend of ours, or None for the default one
    :param precision: what it runs in, or None for the backend's default
    :param peer: the name of another library's reranker, in place of a backend
    :param file: the file that has it
    :param python: the Python that has that library
    """

    model: str
    backend: str | None = None
    precision: str | None = None
    peer: str | None = None
    file: str = ""
    python: str = sys.executable

    @property
    def folder(self) -> Path | None:
        """The folder of the model, where it lies on this machine."""
        return local_folder(self.model)

    @property
    def export(self) -> Export | None:
        """What the model is an export of; None of one that is no export, or not on this machine."""
        return None if self.folder is None else read_export(self.folder)

    @property
    def tag(self) -> str:
        """The model in a word or two: the last part of its path."""
        return Path(self.model).name or self.model

    @property
    def runner(self) -> str:
        """Backend and precision as they were asked for, or the peer; empty for the defaults."""
        return self.peer or ":".join(part for part in (self.backend or "", self.precision or "") if part)

    @property
    def name(self) -> str:
        """Its name in a benchmark."""
        return f"{self.tag}/{self.runner}" if self.runner else self.tag

    @property
    def command(self) -> list[str]:
        """What starts its process."""
        if self.peer is None:
            return [sys.executable, "-m", "reranker_kd.benchmark.worker"]
        return [self.python, str(Path(__file__).with_name("worker.py")), self.file, self.peer]


def systems_of(
    models: Sequence[str], *, backends: Sequence[str] = (), peers: Sequence[str] = (), python: str | None = None
) -> tuple[System, ...]:
    """Return each model on each backend, then each cross-encoder in each peer.

    :param backends: ``NAME`` or ``NAME:PRECISION``; none for the default. An exported model has its own alone
    :param peers: ``FILE:NAME``
    :param python: the Python that has the peers; None for this one
    :raises InputError: two systems of one name, a peer without a file, or peers without a model that they can run
    """
    alone = [System(model) for model in models]
    systems = [
        replace(system, backend=backend or None, precision=full_precision(precision) or None)
        for system in alone
        for backend, _, precision in (asked.partition(":") for asked in backends or ("",))
        if system.export is None
    ]
    systems += [system for system in alone if system.export is not None]
    shared = [system for system in alone if _runs_elsewhere(system.folder)] if peers else []
    if peers and not shared:
        raise InputError("peers run cross-encoders that save_pretrained wrote, and there is none among the models")
    for system in shared:
        for file, _, name in (peer.rpartition(":") for peer in peers):
            if not Path(file).is_file():
                raise InputError(f"{file or name}: no such file: give a peer as FILE:NAME, see docs/benchmarking.md")
            systems.append(replace(system, peer=name, file=file, python=python or sys.executable))
    names = [system.name for system in systems]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two systems are called {twice[0]!r}: name each once, by folders of different names")
    return tuple(systems)


def baseline_of(systems: Sequence[System], asked: str | None) -> System:
    """Return the system of a name, or of the backend, peer or model that only it has; by default the first.

    :raises InputError: none, or several
    """
    if asked is None:
        return systems[0]
    exact = [system for system in systems if system.name == asked]
    matching = exact or [system for system in systems if asked in (system.runner, system.model, system.tag)]
    if len(matching) == 1:
        return matching[0]
    known = ", ".join(system.name for system in matching or systems)
    raise InputError(
        f"baseline {asked!r} stands for {'several systems' if matching else 'no system'}: name one of {known}"
    )


def same_weights(one: System, other: System) -> bool:
    """Tell whether two systems run one model, as it is or exported."""
    return one.model == other.model or _weights(one) == _weights(other)


def _weights(system: System) -> str:
    if system.export is not None:
        return system.export.source["sha256"]
    return system.model if system.folder is None else content_hash(system.folder)


def _runs_elsewhere(folder: Path | None) -> bool:
    if folder is None or not (folder / "model.safetensors").is_file():
        return False
    kind = kind_of(folder)
    return kind.reads == "pairs" and bool(kind.opens_in(None))
