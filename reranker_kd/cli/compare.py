"""``reranker-kd compare``: runs side by side, with tests against a baseline, ceilings, agreement and cost."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reranker_kd.cli.compare_reports import check_report_options, report_options, write_reports
from reranker_kd.cli.options import qrels_option, relevance_level_option
from reranker_kd.compare.comparison import CORRECTIONS, DEFAULT_MEASURES
from reranker_kd.errors import InputError

if TYPE_CHECKING:
    from reranker_kd.compare.compare import Settings
    from reranker_kd.compare.comparison import Comparison, Cost
    from reranker_kd.compare.measured_run import MeasuredRun

# Arrow and numpy leave other threads running.
_READERS = 2

Systems = dict[str, tuple[str, ...]]
"""Name of a row -> the runs behind it."""


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1)
@qrels_option
@click.option(
    "-m",
    "--measure",
    "names",
    metavar="NAME",
    multiple=True,
    default=DEFAULT_MEASURES,
    show_default=True,
    help="A measure, as evaluate names it. Repeatable.",
)
@relevance_level_option
@click.option("--baseline", metavar="RUN", help="What the others are held against.  [default: the first]")
@click.option(
    "--system",
    "groups",
    metavar="NAME=RUN,RUN...",
    multiple=True,
    help="Several seeds or folds of one system, as one row. Repeatable.",
)
@click.option(
    "--candidates",
    metavar="RUN",
    help="The first stage's run, for the ceilings.  [default: the documents in each run itself]",
)
@click.option(
    "--cost",
    "cost_files",
    metavar="FILE",
    multiple=True,
    help="JSON of benchmark, or the index.provenance.json of an encoded folder. Repeatable.",
)
@click.option(
    "--correction",
    type=click.Choice(list(CORRECTIONS)),
    default="holm",
    show_default=True,
    help="For multiple comparisons, over the systems of a measure: Holm, Bonferroni, Benjamini-Hochberg.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Level of the tests; confidence intervals are at 1 - alpha.",
)
@click.option(
    "--resamples",
    type=click.IntRange(min=100),
    default=10_000,
    show_default=True,
    help="Of the bootstrap and of the randomisation test.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resampling.")
@click.option("-q", "--per-query", is_flag=True, help="JSON: also the figures of each query.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "csv", "latex", "markdown"]),
    default="table",
    show_default=True,
    help="Layout of the output; JSON and CSV have all digits.",
)
@click.option("--output", metavar="FILE", help="Write there in place of stdout.")
@report_options
def compare(
    runs: tuple[str, ...],
    qrels: str,
    names: tuple[str, ...],
    relevance_level: int,
    baseline: str | None,
    groups: tuple[str, ...],
    candidates: str | None,
    cost_files: tuple[str, ...],
    correction: str,
    alpha: float,
    resamples: int,
    seed: int,
    per_query: bool,
    output_format: str,
    output: str | None,
    **reports: Any,
) -> None:
    """Compare runs over the same queries, each with the first or with a baseline.

    Differences are tested by the paired t-test and the paired randomisation test, query by query; a query that a
    run lacks counts as zero. Ceilings tell what no reordering of the candidates can exceed.
    """
    check_report_options(reports)
    systems = _systems(runs, groups, baseline)
    from reranker_kd.compare.compare import Settings
    from reranker_kd.formats.files import atomic_writer

    settings = Settings(relevance_level, correction, alpha, resamples, seed)
    comparison = compare_files(
        systems, qrels, names, settings, baseline=baseline, candidates=candidates, cost_files=cost_files
    )
    for system in comparison.systems:
        if lacking := len(system.missing_queries):
            note = f"{system.name} lacks {lacking} of the {len(comparison.queries)} queries of the qrels"
            click.echo(f"{note}; they count as zero", err=True)
    styled = output is None and sys.stdout.isatty()
    text = _text(comparison, output_format, per_query=per_query, styled=styled)
    if output is None:
        click.echo(text)
    else:
        with atomic_writer(output) as stream:
            stream.write(f"{text}\n")
    write_reports(comparison, reports)


def compare_files(
    systems: Systems,
    qrels: str,
    names: Sequence[str],
    settings: Settings,
    *,
    baseline: str | None,
    candidates: str | None,
    cost_files: Sequence[str] = (),
) -> Comparison:
    """Read and compare runs.

    :param names: of measures
    :param baseline: name of a system; None for the first
    :param cost_files: JSON of ``benchmark``, provenance of encoded folders
    """
    from concurrent.futures import ThreadPoolExecutor

    from reranker_kd.compare.compare import compare as compare_systems
    from reranker_kd.compare.measured_run import ceiling_of, measure_run
    from reranker_kd.compare.vectorised_measures import Judgments
    from reranker_kd.evaluate.measures import parse_measures
    from reranker_kd.formats.run_columns import read_run_columns
    from reranker_kd.retrieve.named_inputs import load_qrels

    measures = parse_measures(names)
    judgments = Judgments(load_qrels(qrels))
    level = settings.relevance_level

    def measured(path: str) -> MeasuredRun:
        return measure_run(path, read_run_columns(path), judgments, measures, level)

    with ThreadPoolExecutor(_READERS) as pool:
        first_stage = pool.submit(read_run_columns, candidates) if candidates else None
        by_path = dict(zip(paths := _paths(systems), pool.map(measured, paths), strict=True))
    measured_systems = {name: [by_path[path] for path in group] for name, group in systems.items()}
    ceilings = {}
    if first_stage:
        depths = {max(run.depth for run in group) for group in measured_systems.values()}
        ceilings = {depth: ceiling_of(first_stage.result(), depth, judgments, measures, level) for depth in depths}
    costs, models = _costs(systems, cost_files)
    return compare_systems(
        measured_systems,
        judgments,
        measures,
        settings,
        qrels=qrels,
        baseline=baseline,
        candidates=candidates,
        ceilings=ceilings,
        costs=costs,
        models=models,
    )


def _systems(runs: Sequence[str], groups: Sequence[str], baseline: str | None) -> Systems:
    """Return name -> runs, the baseline first where it is a run that is not listed."""
    named: list[tuple[str, tuple[str, ...]]] = [(run, (run,)) for run in runs]
    for group in groups:
        name, _, listed = group.partition("=")
        paths = tuple(path for path in listed.split(",") if path)
        if not name or not paths:
            raise click.BadParameter(f"{group!r}: expected NAME=RUN,RUN...", param_hint="--system")
        named.append((name, paths))
    if baseline is not None and baseline not in dict(named) and Path(baseline).exists():
        named.insert(0, (baseline, (baseline,)))
    if not named:
        raise click.UsageError("name at least one run, or a --system")
    systems = dict(named)
    if len(systems) < len(named):
        twice = next(name for name, _ in named if [other for other, _ in named].count(name) > 1)
        raise InputError(f"{twice} is given twice: name each run and each system once")
    seen: dict[Path, str] = {}
    for path in _paths(systems):
        if seen.setdefault(Path(path).resolve(), path) != path:
            raise InputError(f"{path} and {seen[Path(path).resolve()]} are the same file: name each run once")
    if len(seen) < len(_paths(systems)):
        twice = next(path for path in _paths(systems) if _paths(systems).count(path) > 1)
        raise InputError(f"{twice} is given twice: name each run once")
    return systems


def _paths(systems: Systems) -> list[str]:
    return [path for group in systems.values() for path in group]


def _costs(systems: Systems, cost_files: Sequence[str]) -> tuple[dict[str, Cost], dict[str, str]]:
    """Return the costs and the models of the systems of which something is known."""
    from reranker_kd.compare import cost

    documents = {path: _document(path) for path in cost_files}
    costs: dict[str, Cost] = {}
    models: dict[str, str] = {}
    for name, runs in systems.items():
        made_by = next(filter(None, map(_provenance, runs)), {})
        model = cost.model_of(made_by)
        names = [name, *([model] if model else []), *runs]
        described = made_by.get("model") or {}
        found = []
        for path, document in documents.items():
            if document.get("stage") == "encode":
                if model and cost.model_of(document) == model and "embeddings" in described:
                    found.append(cost.cost_of_index(document, _size_of_index(path), path))
            elif entry := cost.entry_of(document["models"], names, described):
                found.append(cost.cost_of_model(entry, path))
                model = model or str(entry["model"])
        found += [cost.cost_of_run(made_by, f"{runs[0]}.provenance.json")] if made_by else []
        if model:
            models[name] = model
        if found and (known := cost.joined(found)) != cost.joined([]):
            costs[name] = known
    return cost.with_break_even(costs), models


def _document(path: str) -> Mapping[str, Any]:
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path}: no JSON: {error}") from None
    if isinstance(document, dict) and (document.get("stage") == "encode" or _has_models(document)):
        return document
    raise InputError(f"{path}: expected the JSON of benchmark (--format json), or of an index.provenance.json")


def _has_models(document: Mapping[str, Any]) -> bool:
    models = document.get("models")
    return isinstance(models, list) and all(isinstance(entry, dict) and "model" in entry for entry in models)


def _provenance(run: str) -> Mapping[str, Any] | None:
    """Return what lies beside a run, unless it is another file's."""
    from reranker_kd.formats.files import sha256_of_file
    from reranker_kd.provenance import read_provenance

    record = read_provenance(run)
    if record is None or (record.get("artefact") or {}).get("sha256") != sha256_of_file(run):
        return None
    return record


def _size_of_index(provenance: str) -> int | None:
    index = Path(provenance.removesuffix(".provenance.json"))
    return index.stat().st_size if index.is_file() else None


def _text(comparison: Comparison, output_format: str, *, per_query: bool, styled: bool) -> str:
    from reranker_kd.compare import comparison_data, tables

    if output_format == "json":
        return comparison_data.comparison_json(comparison, per_query=per_query)
    if output_format == "csv":
        return comparison_data.comparison_csv(comparison)
    if output_format == "latex":
        return tables.comparison_latex(comparison)
    if output_format == "markdown":
        return tables.comparison_markdown(comparison)
    return tables.comparison_text(comparison, styled=styled)
