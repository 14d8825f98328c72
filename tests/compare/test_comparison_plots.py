from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from reranker_kd.compare.html.inline_svg import inline_svg
from reranker_kd.compare.plot_style import picture_csv, picture_svg, write_pictures
from reranker_kd.compare.plots import comparison_pictures
from reranker_kd.errors import OutputError

NAMES = ["quality-latency", "query-differences", "score-distributions", "query-length", "candidate-rank"]


@pytest.fixture(scope="module")
def pictures(compared, rankings):
    drawn, left_out = comparison_pictures(compared, rankings)
    assert not left_out
    return {picture.name: picture for picture in drawn}


def _rows(picture):
    return list(csv.DictReader(io.StringIO(picture_csv(picture))))


def test_all_are_there_as_files(pictures, tmp_path):
    assert list(pictures) == NAMES
    write_pictures(tmp_path / "plots", list(pictures.values()))
    assert {file.name for file in (tmp_path / "plots").iterdir()} == {
        f"{name}{suffix}" for name in NAMES for suffix in (".png", ".svg", ".csv")
    }
    assert (tmp_path / "plots" / "query-length.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_picture_is_the_same_file(pictures, name):
    picture = pictures[name]
    svg = picture_svg(picture)
    assert svg == picture_svg(picture)
    assert not re.search(r"<dc:date>|\d{4}-\d\d-\d\dT", svg)


def test_the_frontier_as_data(pictures, compared):
    rows = _rows(pictures["quality-latency"])
    assert [(row["system"], float(row["query_ms"])) for row in rows] == [("student", 2.5), ("teacher", 40.0)]
    for row in rows:
        assert float(row["nDCG@10"]) == compared.system(row["system"]).means["nDCG@10"]
    better = compared.system("teacher").means["nDCG@10"] > compared.system("student").means["nDCG@10"]
    assert [row["on_front"] for row in rows] == ["1", "1" if better else "0"]


def test_differences_as_data(pictures, compared):
    rows = [row for row in _rows(pictures["query-differences"]) if row["system"] == "student"]
    values = [float(row["difference"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert sum(value > 0 for value in values) == compared.system("student").differences["nDCG@10"].wins
    assert {row["qid"] for row in rows} == set(compared.queries)


def test_shares_of_scores_add_up(pictures):
    for name in ("bm25", "student", "teacher"):
        rows = [row for row in _rows(pictures["score-distributions"]) if row["system"] == name]
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


@pytest.mark.parametrize("name", NAMES)
def test_in_a_page_it_is_shapes_alone(pictures, name):
    svg = inline_svg(picture_svg(pictures[name]), name, 'a "label" <b>')
    root = ET.fromstring(svg)
    assert root.get("aria-label") == 'a "label" <b>'
    assert {element.tag for element in root.iter()} <= {
        "svg",
        "g",
        "defs",
        "path",
        "use",
        "clipPath",
        "pattern",
        "rect",
    }
    attributes = {attribute for element in root.iter() for attribute in element.attrib}
    assert not any(attribute == "style" or attribute.startswith(("on", "{")) for attribute in attributes)
    ids = {element.get("id") for element in root.iter() if "id" in element.attrib}
    assert all(each.startswith(f"{name}-") for each in ids)
    for reference in re.findall(r'(?:href="#|url\(#)([^")]+)', svg):
        assert reference in ids
    assert root.findall(".//use"), "letters are shapes too"


def test_what_is_no_shape_does_not_pass():
    hostile = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" onload="alert(1)">'
        '<script>alert(1)</script><a xlink:href="javascript:alert(1)"><path d="M 0 0"/></a>'
        '<use xlink:href="https://elsewhere/x#y"/><g style="fill: url(https://elsewhere/x); stroke: #000000">'
        '<path d="M 1 1" fill="#ffffff" onclick="alert(1)"/></g><foreignObject/></svg>'
    )
    svg = inline_svg(hostile, "p", "label")
    for word in ("alert", "elsewhere", "script", "foreignObject", "onclick"):
        assert word not in svg
    assert '<path d="M 1 1" class="paper" />' in svg
    assert '<g stroke="currentColor">' in svg
