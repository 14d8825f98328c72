"""What the page holds, before any browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.compare.html import page as html_page
from reranker_kd.compare.html.page import comparison_page, data_block, query_records, shown_documents

FILES = {name: [f"run.{name}.txt"] for name in ("bm25", "student", "teacher")}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(json_values)
def test_data_reads_back_and_cannot_end_its_block(value):
    block = data_block(value)
    assert json.loads(block) == value
    assert not set(block) & set("<>&\u2028\u2029")
    block.encode("utf-8")


def test_half_a_surrogate_pair_is_written():
    assert json.loads(data_block("a\ud800b")) == "a?b"


def test_bounds(compared, rankings, monkeypatch):
    monkeypatch.setattr(html_page, "MOST_QUERIES", 2)
    monkeypatch.setattr(html_page, "DEPTH", 2)
    texts = {docid: docid * 2000 for docid in shown_documents(compared, rankings)}
    records = query_records(compared, rankings, texts)
    assert len(records) == 2
    for record in records:
        assert all(len(top) <= 2 for top in record["columns"])
        for document in record["documents"]:
            assert (len(document["text"]), len(document["more"]), document["cut"]) == (600, 2400, True)


def test_texts_are_asked_for_what_is_shown(compared, rankings, monkeypatch):
    assert set(shown_documents(compared, rankings)) == {"d1", "d2", "d3", "d4", "d5"}
    monkeypatch.setattr(html_page, "MOST_QUERIES", 1)
    monkeypatch.setattr(html_page, "DEPTH", 1)
    assert set(shown_documents(compared, rankings)) < {"d1", "d2", "d4", "d5"}


def test_a_first_stage_that_is_no_system_has_a_column(compared, rankings):
    others = replace(compared, systems=compared.systems[1:], baseline="student", candidates="bm25")
    record = query_records(others, rankings, None)[0]
    assert len(record["columns"]) == 3
    assert len(record["figures"]) == 2


def test_nothing_is_fetched_and_only_our_script_and_style_run(compared, rankings):
    page = comparison_page(compared, rankings, files_of=FILES)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    inline = {
        "script": re.findall(r"<script>(.*?)</script>", page, re.DOTALL),
        "style": re.findall(r"<style>(.*?)</style>", page, re.DOTALL),
    }
    for kind, (content,) in inline.items():
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    page = re.sub(r'(?s)(<script id="data"[^>]*>).*?</script>', "", page)
    assert not re.findall(r"""(?:src|href)=["']?(?!#|data:)[\w/]""", page)
    assert not re.findall(r"\s(style|on\w+)=", page)


def test_the_script_writes_text_alone(compared, rankings):
    page = comparison_page(compared, rankings, files_of=FILES)
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", 'setAttribute("style'):
        assert way not in page


def test_the_same_comparison_is_the_same_page(compared, rankings):
    assert comparison_page(compared, rankings, files_of=FILES) == comparison_page(compared, rankings, files_of=FILES)
