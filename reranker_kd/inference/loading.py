"""From a model's folder to engines that run it: on torch, or compiled by a backend once and kept on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from reranker_kd.errors import InputError, ModelError, OutputError
from reranker_kd.formats.files import atomic_folder
from reranker_kd.inference.backends import BACKENDS
from reranker_kd.inference.engine import Engine
from reranker_kd.inference.interface import Backend, Examples, Runner
from reranker_kd.inference.options import ModelOptions
from reranker_kd.inference.pair_tokenizer import FRAMINGS, PairTokenizer
from reranker_kd.inference.precision import computes_in_bfloat16, default_device, torch_device
from reranker_kd.models.exported import Export, SavedTokenizer, read_export
from reranker_kd.models.folder import EXPORT_FILE, content_hash
from reranker_kd.models.settings import Inputs, TextSettings

if TYPE_CHECKING:
    from reranker_kd.models.crossing import DotCrossing
    from reranker_kd.models.network import Network

Given = TypeVar("Given")
Made = TypeVar("Made")

CACHE_VARIABLE = "RERANKER_KD_CACHE"
"""The environment variable that names the folder of compiled networks; empty keeps none."""


@dataclass(frozen=True, slots=True)
class LoadedNetworks:
    """A model's networks in float32 and in evaluation mode.

    :param networks: ``network`` of a model that reads pairs, ``query`` and ``document`` of others; each maps token
        arrays (n, tokens) to float (n, d); one object where both sides share it
    :param tokenizer: a ``transformers`` tokenizer
    :param crossing: None where embeddings are compared by their inner product
    """

    inputs: Inputs
    networks: dict[str, Network]
    tokenizer: Any
    crossing: DotCrossing | None = None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run.

    :param engines: by the names of the networks
    :param crossing: None where embeddings are compared by their inner product
    """

    folder: Path
    inputs: Inputs
    tokenizer: PairTokenizer
    engines: dict[str, Engine]
    crossing: DotCrossing | None

    def describe(self) -> dict[str, Any]:
        """Return content hash, backend, precision and device, for a provenance file."""
        runner = next(iter(self.engines.values())).runner
        running = {"backend": runner.name, "precision": runner.precision, "device": runner.device}
        return {"sha256": content_hash(self.folder), **running}


def load_model(folder: Path, options: ModelOptions) -> LoadedModel:
    """Return the model of a folder, on the backend that was asked for, or on the fastest that takes it.

    :param folder: what ``save_pretrained``, sentence-transformers, ``distill`` or ``export`` wrote
    :raises InputError: an unknown backend, or one that does not run as asked
    :raises ModelError: the model cannot be loaded, a package is missing, or the backend does not take the network
    """
    if (export := read_export(folder)) is not None:
        return _of_export(folder, export, options)
    if options.precision == "int8":
        raise InputError(
            "int8 needs calibration: make a folder by reranker-kd export --precision int8, and name that as the model"
        )
    candidates = backends_for(options)
    loaded: LoadedNetworks | None = None
    for place, backend in enumerate(candidates, start=1):
        kept = _cache_folder(folder, backend, options)
        export = None if kept is None else read_export(kept)
        if export is None:
            # Outside of what follows: a broken folder is no matter of the backend.
            loaded = loaded or load_networks(folder)
        try:
            if kept is not None and loaded is not None and export is None:
                export = _keep(folder, loaded, backend, kept)
            if kept is not None and export is not None:
                return _of_export(kept, export, options, folder)
            assert loaded is not None
            return _of_networks(folder, loaded, backend, options)
        except ModelError:
            # A network with operations that this backend does not know.
            if place == len(candidates):
                raise
    raise AssertionError("no backend")


def load_networks(folder: Path) -> LoadedNetworks:
    """Load the networks of a folder that is no export.

    :raises ModelError: the model cannot be loaded
    """
    from reranker_kd.models.kinds import kind_of
    from reranker_kd.models.loading import load_tokenizer, longest_input
    from reranker_kd.models.network import PreparedTower

    kind = kind_of(folder)
    network: Any = kind.load(folder)
    network.for_inference()
    tokenizer = load_tokenizer(folder)
    shape = network.shape
    facts = {"kind": kind.name, "reads": kind.reads, "framing": kind.framing, "interpolate": shape.interpolate}
    limit = longest_input(kind.encoder(network), shape, tokenizer)
    inputs = Inputs(**facts, limit=limit, own_length=shape.max_length)
    if kind.reads == "pairs":
        return LoadedNetworks(inputs, {"network": network}, tokenizer)
    towers = {"query": network.query_tower, "document": network.document_tower}
    texts = TextSettings(**shape.model_dump(include=set(TextSettings.model_fields)))
    return LoadedNetworks(
        inputs.model_copy(update={"texts": texts, "dimension": network.dimension()}),
        _once(towers, lambda _, tower: PreparedTower(shape, tower, network.crossing.prepare)),
        tokenizer,
        None if network.crossing.searchable else network.crossing,
    )


def write_export(
    source: Path,
    loaded: LoadedNetworks,
    backend: Backend,
    precision: Literal["float32", "bfloat16", "int8"],
    output: Path,
    *,
    name: str,
    examples: dict[str, Examples] | None = None,
    calibration: dict[str, Any] | None = None,
) -> Export:
    """Write networks, tokenizer and ``export.json`` into a folder that exists; return what the last says.

    :param source: the model's own folder
    :param examples: by network, inputs like those to come, which int8 takes its ranges from
    :raises ModelError: a tokenizer or a network that cannot be exported
    """
    if not hasattr(loaded.tokenizer, "backend_tokenizer"):
        raise ModelError(f"{source}: its tokenizer has no tokenizer.json: save it with a current transformers")
    assert backend.export is not None
    settings = {"with_types": FRAMINGS[loaded.inputs.framing](loaded.tokenizer).has_types, "precision": precision}
    write = backend.export

    def written(side: str, network: Network) -> str:
        file = f"{side}{backend.suffix}"
        write(network, output / file, **settings, examples=(examples or {}).get(side, ()))
        return file

    networks = _once(loaded.networks, written)
    loaded.tokenizer.backend_tokenizer.save(str(output / "tokenizer.json"))
    if loaded.crossing is not None:
        from reranker_kd.models.crossing import save_crossing

        save_crossing(loaded.crossing, output)
    pad_id = loaded.tokenizer.pad_token_id
    export = Export(
        **loaded.inputs.model_dump(),
        format=backend.name,
        precision=precision,
        networks=networks,
        pad_id=0 if pad_id is None else pad_id,
        input_names=list(loaded.tokenizer.model_input_names),
        source={"name": name, "sha256": content_hash(source)},
        calibration=calibration,
    )
    write_record(export, output)
    return export


def write_record(export: Export, folder: Path) -> None:
    """Write ``export.json``."""
    (folder / EXPORT_FILE).write_text(export.model_dump_json(indent=2) + "\n", encoding="utf-8")


def backends_for(options: ModelOptions) -> list[Backend]:
    """Return the backends to try, in their order."""
    if options.backend != "auto":
        BACKENDS[options.backend].check_installed()
        return [BACKENDS[options.backend]]
    device = options.device or default_device()
    in_half = options.precision == "bfloat16" or (options.precision == "auto" and computes_in_bfloat16(device))
    installed = [backend for backend in BACKENDS.values() if backend.installed()]
    preferred = [(backend.preference(device.partition(":")[0], in_half), backend) for backend in installed]
    ranked = [(rank, backend) for rank, backend in preferred if rank is not None]
    return [backend for _, backend in sorted(ranked, key=lambda pair: -pair[0])]


def _of_networks(folder: Path, loaded: LoadedNetworks, backend: Backend, options: ModelOptions) -> LoadedModel:
    tokenizer = FRAMINGS[loaded.inputs.framing](loaded.tokenizer)
    device = torch_device(options.device if backend.export is None else options.device or "cpu")

    def made(_: str, network: Network) -> Engine:
        runner = backend.make(network, with_types=tokenizer.has_types, precision=options.precision, device=device)
        return _engine(runner, tokenizer, options)

    return LoadedModel(folder, loaded.inputs, tokenizer, _once(loaded.networks, made), loaded.crossing)


def _of_export(folder: Path, export: Export, options: ModelOptions, source: Path | None = None) -> LoadedModel:
    """Return the model of an exported folder.

    :param source: the model's own folder, where the export is only what is kept of it; None for an export that a
        user made, which runs as it was exported
    """
    backend = BACKENDS[export.backend]
    precision = options.precision
    if source is None:
        has = {"backend": export.backend, "precision": export.precision, "device": "cpu"}
        for setting, exported_for in has.items():
            if (value := getattr(options, setting)) not in (None, "auto", exported_for):
                raise InputError(
                    f"{folder}: was exported for {setting} {exported_for}, not {value}: leave it out, or export the "
                    "model again"
                )
        # What was exported in half precision still runs where the processor has none.
        precision = "auto" if export.precision == "bfloat16" else export.precision
    tokenizer = FRAMINGS[export.framing](SavedTokenizer(folder, export))
    backend.check_installed()
    assert backend.open is not None
    open_file = backend.open

    def opened(_: str, file: str) -> Engine:
        try:
            return _engine(open_file(folder / file, precision), tokenizer, options)
        except RuntimeError as error:
            message = str(error).strip().splitlines()[-1]
            raise ModelError(f"{folder / file}: cannot be read: {message}: export it again") from error

    engines = _once(export.networks, opened)
    crossing = None
    if export.texts is not None and export.texts.crossing not in ("cosine", "dot"):
        from reranker_kd.models.crossing import load_crossing

        assert export.dimension is not None
        crossing = load_crossing(folder, export.texts.crossing, export.dimension)
    return LoadedModel(source or folder, export, tokenizer, engines, crossing)


def _once(sides: Mapping[str, Given], make: Callable[[str, Given], Made]) -> dict[str, Made]:
    """Return what is made of each side's network or file, of one that serves two sides once, by the first's name."""
    made: dict[Given, Made] = {}
    for side, given in sides.items():
        if given not in made:
            made[given] = make(side, given)
    return {side: made[given] for side, given in sides.items()}


def _engine(runner: Runner, tokenizer: PairTokenizer, options: ModelOptions) -> Engine:
    return Engine(runner, pad_id=tokenizer.pad_id, with_types=tokenizer.has_types, batch_tokens=options.batch_tokens)


def _cache_folder(folder: Path, backend: Backend, options: ModelOptions) -> Path | None:
    """Return where a backend's compiled networks of a model are kept; None where nothing is to be kept."""
    place = os.environ.get(CACHE_VARIABLE, str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "reranker_kd"))
    if backend.export is None or not place or options.device not in (None, "cpu"):
        return None
    versions = [version("reranker-kd"), *map(version, backend.packages)]
    key = hashlib.sha256("\0".join([content_hash(folder), backend.name, *versions]).encode()).hexdigest()[:32]
    return Path(place).expanduser() / key


def _keep(folder: Path, loaded: LoadedNetworks, backend: Backend, kept: Path) -> Export | None:
    """Write compiled networks to where they are kept; return what lies there, None where nothing could be written."""
    if not hasattr(loaded.tokenizer, "backend_tokenizer"):
        return None
    # No room, no right to write, or another process was first: it runs all the same.
    with suppress(OutputError), atomic_folder(kept) as building:
        write_export(folder, loaded, backend, "float32", building, name=folder.name)
    return read_export(kept)
