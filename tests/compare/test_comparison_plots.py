from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reranker_kd.compare.comparison import Cost
from reranker_kd.compare.plot_style import WIDTH, picture_svg, write_pictures
from reranker_kd.compare.plots import comparison_pictures, quality_latency_frontier
from reranker_kd.errors import OutputError

NAMES = ["quality-latency", "query-differences", "score-distributions", "query-length", "candidate-rank"]


@pytest.fixture(scope="module")
def pictures(compared, rankings):
    drawn, left_out = comparison_pictures(compared, rankings)
    assert not left_out
    return {picture.name: picture for picture in drawn}


@pytest.fixture(scope="module")
def folder(pictures, tmp_path_factory):
    """The pictures as files."""
    folder = tmp_path_factory.mktemp("pictures") / "plots"
    write_pictures(folder, list(pictures.values()))
    return folder


def _rows(file):
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_all_are_there_as_files(pictures, folder):
    assert list(pictures) == NAMES
    assert {file.name for file in folder.iterdir()} == {
        f"{name}{suffix}" for name in NAMES for suffix in (".png", ".svg", ".csv")
    }
    assert (folder / "query-length.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_picture_is_the_same_file(pictures, name):
    picture = pictures[name]
    svg = picture_svg(picture)
    assert svg == picture_svg(picture)
    assert not re.search(r"<dc:date>|\d{4}-\d\d-\d\dT", svg)


def test_the_frontier_as_data(folder, compared):
    rows = _rows(folder / "quality-latency.csv")
    assert [(row["system"], float(row["query_ms"])) for row in rows] == [("student", 2.5), ("teacher", 40.0)]
    for row in rows:
        assert float(row["nDCG@10"]) == compared.system(row["system"]).means["nDCG@10"]
    better = compared.system("teacher").means["nDCG@10"] > compared.system("student").means["nDCG@10"]
    assert [row["on_front"] for row in rows] == ["1", "1" if better else "0"]


@pytest.mark.parametrize(
    "milliseconds", [(2.5, 40.0), (3.1, 4.2), (0.02, 0.03), (1.0, 9.0), (0.5, 60_000.0), (7.0, 7.0)]
)
def test_the_frontier_has_plain_numbers_at_its_ticks(compared, milliseconds):
    costs = [None, *(Cost(query_ms=each) for each in milliseconds)]
    systems = tuple(replace(system, cost=cost) for system, cost in zip(compared.systems, costs, strict=True))
    picture = quality_latency_frontier(replace(compared, systems=systems))
    figure = Figure(figsize=(WIDTH, picture.height), layout="constrained")
    FigureCanvasAgg(figure)
    # Without mathematics, as pictures are drawn: a formula would show its source.
    with matplotlib.rc_context({"text.parse_math": False}):
        picture.draw(figure)
        figure.canvas.draw()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    ticks = [*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()]
    shown = [tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high]
    labels = [label for label in shown if label]
    assert len(labels) >= 2
    assert all(float(label) > 0 for label in labels), labels
    assert len(set(labels)) == len(labels) <= 12


def test_differences_as_data(folder, compared):
    rows = [row for row in _rows(folder / "query-differences.csv") if row["system"] == "student"]
    values = [float(row["difference"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert sum(value > 0 for value in values) == compared.system("student").differences["nDCG@10"].wins
    assert {row["qid"] for row in rows} == set(compared.queries)


def test_shares_of_scores_add_up(folder):
    for name in ("bm25", "student", "teacher"):
        rows = [row for row in _rows(folder / "score-distributions.csv") if row["system"] == name]
        assert sum(float(row["share_of_relevant"]) for row in rows) == pytest.approx(1)
        assert sum(float(row["share_of_others"]) for row in rows) == pytest.approx(1)


def test_what_cannot_be_drawn_is_said(compared, rankings):
    alone = replace(compared, systems=(replace(compared.systems[0], cost=None),))
    drawn, left_out = comparison_pictures(alone, replace(rankings, topics={}))
    assert [picture.name for picture in drawn] == ["score-distributions", "candidate-rank"]
    assert [line.partition(":")[0] for line in left_out] == [
        "quality and latency",
        "differences by query",
        "quality by query length",
    ]
    assert "--cost" in left_out[0]
    assert "--topics" in left_out[2]


def test_names_are_neither_formulas_nor_complained_of(compared, rankings):
    odd = {"bm25": "$a_b$ & <b>", "student": "ナンバー", "teacher": "teacher"}
    renamed = replace(
        compared, systems=tuple(replace(s, name=odd[s.name]) for s in compared.systems), baseline=odd["bm25"]
    )
    runs = {odd[name]: columns for name, columns in rankings.runs.items()}
    drawn, _ = comparison_pictures(renamed, replace(rankings, runs=runs, reference=odd["bm25"]))
    for picture in drawn:
        ET.fromstring(picture_svg(picture))


def test_a_folder_in_the_way(pictures, tmp_path):
    (tmp_path / "plots").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_pictures(tmp_path / "plots", list(pictures.values()))
