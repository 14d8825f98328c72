"""The pictures of a comparison; what the data do not allow is left out, and the reason is said."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from itertools import zip_longest

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from reranker_kd.compare import rankings as behind
from reranker_kd.compare.comparison import Comparison
from reranker_kd.compare.plot_style import BLACK, BLUE, COLOURS, GREY, HATCHES, MARKERS, VERMILLION, Picture

_BINS = 30
_PANELS_A_ROW = 2


def comparison_pictures(comparison: Comparison, rankings: behind.ComparedRankings) -> tuple[list[Picture], list[str]]:
    """Return the pictures, and a line for each that is left out, which says why.

    They show the first measure, with the names of systems as they stand.
    """
    pictures = (
        quality_latency_frontier(comparison),
        query_differences(comparison),
        score_distributions(comparison, rankings),
        quality_by_query_length(comparison, rankings),
        gains_by_candidate_rank(comparison, rankings),
    )
    drawn = [picture for picture in pictures if isinstance(picture, Picture)]
    return drawn, [reason for reason in pictures if isinstance(reason, str)]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points (cost, quality) that no other matches in both and beats in one, by cost."""
    front: list[int] = []
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if not front or points[place][1] > points[front[-1]][1]:
            front.append(place)
    return front


def quality_latency_frontier(comparison: Comparison) -> Picture | str:
    """Return quality over milliseconds a query, systems that no other outdoes joined by a line."""
    measure = comparison.measures[0].name
    costs = [(system, system.cost.query_ms) for system in comparison.systems if system.cost and system.cost.query_ms]
    if len(costs) < 2:
        return "quality and latency: fewer than two systems have a time a query; give benchmark's JSON by --cost"
    points = [(milliseconds, system.means[measure]) for system, milliseconds in costs]
    front = pareto_front(points)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.margins(x=0.2, y=0.15)
        # Plain numbers, of which a range within a power of ten has too few at 1, 2 and 5, and a wide one too many.
        times = max(points)[0] / min(points)[0]
        log_ticks = LogLocator(subs=(1, 2, 5) if times < 1000 else (1,))
        axes.xaxis.set_major_locator(MaxNLocator(6) if times < 10 else log_ticks)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.plot(*zip(*(points[place] for place in front), strict=True), color=GREY, linestyle="--", zorder=1)
        middle = math.sqrt(min(points)[0] * max(points)[0])
        for place, (system, _) in enumerate(costs):
            colour, marker = _look(place)
            axes.plot(*points[place], marker=marker, color=colour, markersize=8, linestyle="none")
            # Where the line, which rises to the right, does not run.
            offset, ha, va = ((-8, 5), "right", "bottom") if points[place][0] > middle else ((8, -5), "left", "top")
            axes.annotate(system.name, points[place], offset, textcoords="offset points", ha=ha, va=va)
        axes.set(xlabel="ms per query (log scale)", ylabel=measure)

    rows = tuple(
        (system.name, milliseconds, system.means[measure], int(place in front))
        for place, (system, milliseconds) in enumerate(costs)
    )
    return Picture(
        "quality-latency",
        f"{measure} and milliseconds a query",
        "Up and to the left is better. The line joins the systems that no other outdoes in both.",
        ("system", "query_ms", measure, "on_front"),
        rows,
        3.6,
        draw,
    )


def query_differences(comparison: Comparison) -> Picture | str:
    """Return each system's differences to the baseline, a bar a query, best first."""
    measure = comparison.measures[0].name
    baseline = comparison.system(comparison.baseline).per_query[measure]
    differences = {
        system.name: sorted(
            ((system.per_query[measure][qid] - baseline[qid], qid) for qid in comparison.queries), reverse=True
        )
        for system in comparison.systems
        if system.name != comparison.baseline
    }
    if not differences:
        return "differences by query: there is a single system"

    def panel(axes: Axes, name: str) -> None:
        values = np.array([difference for difference, _ in differences[name]])
        edges = np.arange(len(values) + 1)
        axes.stairs(np.maximum(values, 0), edges, fill=True, color=BLUE)
        axes.stairs(np.minimum(values, 0), edges, fill=True, facecolor=VERMILLION, edgecolor=BLACK, hatch="////")
        axes.axhline(0, color=BLACK, linewidth=0.8)
        counted = comparison.system(name).differences[measure]
        axes.set_title(f"{name}: {counted.wins} won, {counted.ties} tied, {counted.losses} lost")
        axes.margins(x=0)
        # The panel below may be an empty place.
        axes.tick_params(labelbottom=True)

    def draw(figure: Figure) -> None:
        _panels(figure, list(differences), panel, share_axes=True)
        figure.supxlabel("queries, best first")
        figure.supylabel(f"{measure} above {comparison.baseline}")

    return Picture(
        "query-differences",
        f"{measure} against {comparison.baseline}, query by query",
        f"Each bar is a query. Above the line the system is better than {comparison.baseline}, below (hatched) worse.",
        ("system", "qid", "difference"),
        tuple((name, qid, difference) for name, found in differences.items() for difference, qid in found),
        _height(differences),
        draw,
    )


def score_distributions(comparison: Comparison, rankings: behind.ComparedRankings) -> Picture | str:
    """Return histograms of each system's scores, of relevant documents against the others."""
    level = comparison.relevance_level
    histograms = {}
    for system in comparison.systems:
        relevant, others = behind.scores_by_relevance(rankings, system.name, comparison.queries, level)
        if len(relevant) and len(others):
            edges = np.histogram_bin_edges(np.concatenate([relevant, others]), _BINS)
            shares = [np.histogram(scores, edges)[0] / len(scores) for scores in (relevant, others)]
            histograms[system.name] = (edges, *shares)
    if not histograms:
        return f"score distributions: no run has documents of grade {level} and others"

    def panel(axes: Axes, name: str) -> None:
        edges, relevant, others = histograms[name]
        axes.stairs(others, edges, fill=True, color=VERMILLION, alpha=0.35, label="others")
        axes.stairs(others, edges, color=VERMILLION)
        axes.stairs(relevant, edges, facecolor="none", edgecolor=BLUE, hatch="////", fill=True, label="relevant")
        axes.stairs(relevant, edges, color=BLUE)
        axes.locator_params(axis="x", nbins=5)
        axes.set_title(name)

    def draw(figure: Figure) -> None:
        axes = _panels(figure, list(histograms), panel)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2)
        figure.supxlabel("score")
        figure.supylabel("share of documents")

    return Picture(
        "score-distributions",
        "Scores of relevant documents and of others",
        f"Relevant is grade {level} and above; others are judged below or not at all. Top 100 of each query. The less "
        "the two overlap, the better the scores tell them apart across queries. Each system has a scale of its own.",
        ("system", "from", "to", "share_of_relevant", "share_of_others"),
        tuple(
            (name, *of_bin)
            for name, (edges, *shares) in histograms.items()
            for of_bin in np.column_stack([edges[:-1], edges[1:], *shares]).tolist()
        ),
        _height(histograms) + 0.3,
        draw,
    )


def quality_by_query_length(comparison: Comparison, rankings: behind.ComparedRankings) -> Picture | str:
    """Return the figures of short and of long queries, with standard errors."""
    measure = comparison.measures[0].name
    buckets = behind.by_query_length(rankings.topics, comparison.queries)
    if len(buckets) < 2:
        return "quality by query length: needs queries of several lengths; give their texts by --topics"
    found = {
        system.name: [behind.mean_and_error([system.per_query[measure][qid] for qid in qids]) for _, qids in buckets]
        for system in comparison.systems
    }

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = np.arange(len(buckets))
        # Side by side, so that error bars do not hide one another.
        offsets = np.linspace(-0.3, 0.3, len(found)) if len(found) > 1 else [0.0]
        for place, (name, figures) in enumerate(found.items()):
            colour, marker = _look(place)
            means, errors = zip(*figures, strict=True)
            axes.errorbar(
                places + offsets[place], means, errors, fmt=marker, color=colour, markersize=6, capsize=3, label=name
            )
        ticks = [f"{words}\n(queries: {len(qids)})" for words, qids in buckets]
        axes.set_xticks(places, ticks)
        axes.grid(visible=False, axis="x")
        axes.set(xlabel="words of the query", ylabel=measure)
        figure.legend(loc="outside upper left", ncols=min(4, len(found)))

    return Picture(
        "query-length",
        f"{measure} by the length of the query",
        "Means over queries of about the same number of words; bars are standard errors.",
        ("system", "words", "queries", measure, "standard_error"),
        tuple(
            (name, words, len(qids), mean, error)
            for name, figures in found.items()
            for (words, qids), (mean, error) in zip(buckets, figures, strict=True)
        ),
        3.6 + 0.2 * (len(found) // 4),
        draw,
    )


def gains_by_candidate_rank(comparison: Comparison, rankings: behind.ComparedRankings) -> Picture | str:
    """Return from which ranks of the first stage each system draws its nDCG@10."""
    names = [system.name for system in comparison.systems]
    gains = behind.gain_by_candidate_rank(rankings, names, comparison.queries)
    buckets = [bucket for bucket in gains[names[0]] if any(gains[name][bucket] for name in names)]
    if not buckets:
        return "quality by candidate rank: no system has a relevant document in its top 10"

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = np.arange(len(names))
        left = np.zeros(len(names))
        for place, bucket in enumerate(buckets):
            widths = np.array([gains[name][bucket] for name in names])
            colour = GREY if bucket == behind.NOT_A_CANDIDATE else COLOURS[place]
            bars = axes.barh(places, widths, left=left, height=0.6, color=colour, hatch=HATCHES[place], label=bucket)
            for bar in bars:
                bar.set(edgecolor=BLACK, linewidth=0.5)
            left += widths
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("nDCG@10")
        title = f"rank in {rankings.reference}"
        figure.legend(loc="outside upper left", ncols=len(buckets), title=title, alignment="left", columnspacing=1.2)

    return Picture(
        "candidate-rank",
        "nDCG@10 by the rank among the candidates",
        f"Each bar is a system's nDCG@10, split by where {rankings.reference} had the documents that bring it.",
        ("system", "candidate_rank", "nDCG@10"),
        tuple((name, bucket, gains[name][bucket]) for name in names for bucket in buckets),
        1.6 + 0.4 * len(names),
        draw,
    )


def _look(place: int) -> tuple[str, str]:
    # Of different lengths, so that the pairs of a colour and a marker do not repeat soon.
    return COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]


def _height(panels: Collection[str]) -> float:
    return 0.6 + 1.9 * math.ceil(len(panels) / _PANELS_A_ROW)


def _panels(
    figure: Figure, panels: Sequence[str], draw: Callable[[Axes, str], None], *, share_axes: bool = False
) -> Axes:
    """Draw each panel on axes of its own, two in a row where there are several, and return the first."""
    columns = min(_PANELS_A_ROW, len(panels))
    rows = math.ceil(len(panels) / columns)
    grid = figure.subplots(rows, columns, sharex=share_axes, sharey=share_axes, squeeze=False)
    for axes, panel in zip_longest(grid.flat, panels):
        if panel is None:
            axes.remove()
        else:
            draw(axes, panel)
    first: Axes = grid[0, 0]
    return first
