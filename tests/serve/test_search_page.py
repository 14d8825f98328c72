"""The page in a real browser: a query shows columns, documents stay text, nothing is complained of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from headless_browser import browser

from reranker_kd import load_reranker

pytestmark = pytest.mark.slow

__all__ = ["browser"]


@pytest.fixture
def page(browser, client) -> Iterator:
    """The page, loaded; every complaint of the console fails the test."""
    context = browser.new_context(base_url=str(client.base_url), viewport={"width": 1200, "height": 800})
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    opened.goto("/")
    yield opened
    context.close()
    assert not complaints


def _search(page, query: str) -> None:
    page.keyboard.type(query)
    page.keyboard.press("Enter")
    page.get_by_text("all columns are there").wait_for()


def test_a_query_shows_bm25_beside_each_model(page, client):
    page.get_by_text("6 documents · tiny, other", exact=True).wait_for()
    _search(page, "heat flow")
    columns = page.locator(".column")
    assert columns.locator("h2").all_inner_texts() == ["BM25", "tiny", "other"]
    for column, model in zip(columns.all(), [None, "tiny", "other"], strict=True):
        hits = client.post("/search", json={"query": "heat flow", "model": model}).json()["ranking"]
        assert column.locator(".docid").all_inner_texts() == [hit["docid"] for hit in hits]
        assert column.locator(".score").all_inner_texts() == [f"{hit['score']:.3f}" for hit in hits]
        assert "ms" in column.locator(".times").inner_text()


def test_rank_moves_count_from_bm25(page):
    _search(page, "heat flow")
    bm25, tiny, _ = page.locator(".column").all()
    before = bm25.locator(".docid").all_inner_texts()
    for place, docid in enumerate(tiny.locator(".docid").all_inner_texts()):
        up = before.index(docid) - place
        shown = tiny.locator(".move").nth(place).inner_text()
        assert shown == (f"▲ {up}" if up > 0 else f"▼ {-up}" if up < 0 else "=")


def test_markup_in_a_document_stays_text(page, texts):
    title = page.title()
    _search(page, "heat more")
    row = page.locator(".column").first.locator("li[data-docid=hostile]")
    row.locator("summary").click()
    assert row.locator(".text").inner_text() == texts["hostile"]
    assert page.locator("main script, main img").count() == 0
    assert page.title() == title


def test_by_keyboard_alone(page):
    _search(page, "heat flow")
    first = page.locator(".column").first.locator("li").first
    # Three fields, the button and two examples come before the first document.
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    assert first.locator("summary").evaluate("element => element === document.activeElement")
    page.keyboard.press("Enter")
    assert first.locator(".text").is_visible()
    docid = first.locator(".docid").inner_text()
    assert page.locator("li.marked").count() == 3
    assert set(page.locator("li.marked .docid").all_inner_texts()) == {docid}


@pytest.mark.parametrize("width", [320, 768, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows(page, tmp_path, width, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    _search(page, "heat flow")
    page.locator("summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}[scheme]
    page.screenshot(path=tmp_path / f"comparison-{scheme}-{width}.png", full_page=True)


def test_nothing_found(page):
    page.keyboard.type("zymurgy")
    page.keyboard.press("Enter")
    page.get_by_text("No document matches.").wait_for()
    assert page.locator(".column").count() == 1


def test_the_address_keeps_what_is_asked(page, browser):
    page.get_by_label("Shown").fill("3")
    page.get_by_label("Reranked").fill("2")
    page.get_by_label("Query").fill("heat & flow?")
    page.keyboard.press("Enter")
    page.get_by_text("all columns are there").wait_for()
    shared = page.context.new_page()
    shared.goto(page.url)
    for opened in (shared, page):
        opened.reload()
        opened.get_by_text("all columns are there").wait_for()
        assert opened.get_by_label("Query").input_value() == "heat & flow?"
        assert opened.get_by_label("Shown").input_value() == "3"
        assert opened.get_by_label("Reranked").input_value() == "2"
        assert [column.locator("li").count() for column in opened.locator(".column").all()] == [3, 3, 3]
        assert "reranking 2," in opened.locator(".times").last.inner_text()


def test_back_and_forth(page):
    _search(page, "heat flow")
    first = page.url
    page.get_by_label("Query").fill("dog")
    page.keyboard.press("Enter")
    page.get_by_text("1 candidates, all").wait_for()
    page.go_back()
    page.locator("li[data-docid=d1]").first.wait_for()
    assert (page.url, page.get_by_label("Query").input_value()) == (first, "heat flow")
    page.go_back()
    # The page hears of it a moment later.
    page.wait_for_function("document.querySelectorAll('.column').length === 0")
    assert page.get_by_label("Query").input_value() == ""


@pytest.mark.parametrize("given", ["?query=heat&hits=none", "?query=heat&hits=", "?query=heat&other=1"])
def test_an_address_by_hand(page, given):
    page.goto(given)
    page.get_by_text("all columns are there").wait_for()
    assert page.get_by_label("Shown").input_value() == "10"


def test_examples_are_asked_by_a_click(page):
    links = page.locator("#examples a")
    assert links.all_inner_texts() == ["shock wave", "heat & <b>flow</b>"]
    links.last.click()
    page.get_by_text("all columns are there").wait_for()
    assert page.get_by_label("Query").input_value() == "heat & <b>flow</b>"
    assert links.last.get_attribute("href") in page.url
    # It is a link of its own, for another tab.
    page.goto(links.first.get_attribute("href"))
    page.get_by_text("all columns are there").wait_for()
    assert page.get_by_label("Query").input_value() == "shock wave"


def test_without_examples_nothing_is_offered(browser, serving, served_index):
    with serving({}, served_index) as client:
        page = browser.new_page(base_url=str(client.base_url))
        page.goto("/")
        page.get_by_text("6 documents").wait_for()
        assert not page.locator("#examples").is_visible()
        page.close()


def test_the_reference_page(page):
    page.get_by_role("link", name="HTTP interface").click()
    page.get_by_role("heading", name="POST /search").wait_for()


def test_a_service_with_a_key_asks_for_it(browser, serving, served_index, cross_encoder_folder):
    rerankers = {"tiny": load_reranker(cross_encoder_folder, backend="torch")}
    with serving(rerankers, served_index, api_key="sesame") as client:
        page = browser.new_page(base_url=str(client.base_url))
        page.goto("/")
        page.get_by_label("API key").fill("sesame")
        page.get_by_label("Query").fill("heat flow")
        page.keyboard.press("Enter")
        page.get_by_text("all columns are there").wait_for()
        assert page.locator(".column").count() == 2
        page.close()
