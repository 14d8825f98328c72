"""The page in a real browser: by mouse, by keys, narrow and dark; hostile texts stay text, nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from headless_browser import browser

from reranker_kd.cli.compare import compare

pytestmark = pytest.mark.slow

__all__ = ["browser"]


@pytest.fixture(scope="module")
def address(compared_folder, tmp_path_factory) -> str:
    """The page as the command writes it."""
    page = tmp_path_factory.mktemp("page") / "report.html"
    runs = [str(compared_folder / f"run.{name}.txt") for name in ("bm25", "student", "teacher")]
    options = {
        "--qrels": "qrels.txt",
        "--topics": "topics.jsonl",
        "--collection": "docs.jsonl",
        "--cost": "benchmark.json",
    }
    arguments = [word for option, name in options.items() for word in (option, str(compared_folder / name))]
    measures = ["-m", "nDCG@10", "-m", "RR@10", "--resamples", "100"]
    done = CliRunner().invoke(compare, [*runs, *arguments, *measures, "--html", str(page)])
    assert done.exit_code == 0, done.output
    return page.as_uri()


@pytest.fixture
def page(browser, address) -> Iterator:
    """The page, loaded; every complaint of the console, and every request but for the page itself, fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(10_000)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    opened.on("request", lambda request: requests.append(request.url))
    requests: list[str] = []
    opened.goto(address)
    opened.locator(".column").first.wait_for()
    yield opened
    context.close()
    assert not complaints
    assert all(url.startswith((address, "data:")) for url in requests)


def _first_cells(page) -> list[str]:
    return page.locator("#tables table").first.locator("tbody th").all_inner_texts()


def _opened(page) -> str:
    return page.locator("#list a[aria-current]").get_attribute("data-qid")


def test_a_table_is_sorted_by_click_and_by_key(page):
    table = page.locator("#tables table").first
    heading = table.locator("thead th").nth(1)
    assert _first_cells(page) == ["bm25", "student", "teacher"]
    assert heading.get_attribute("aria-sort") == "none"
    figures = [float(text.rstrip("†‡")) for text in table.locator("tbody td:nth-child(2)").all_inner_texts()]
    best_first = [name for _, name in sorted(zip(figures, _first_cells(page), strict=True), reverse=True)]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert _first_cells(page) == best_first
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert _first_cells(page) == best_first[::-1]
    table.locator("thead th").first.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "none"
    assert _first_cells(page) == ["bm25", "student", "teacher"]


def test_figures_are_sorted_as_figures(page):
    ordered = page.evaluate("""["<0.0001", "-", "10.5 MB", "-0.2", "[+0.1, +0.3]"].map(figureIn)""")
    assert ordered == [0.00005, None, 10.5, -0.2, 0.1]


def test_runs_stand_side_by_side(page):
    page.goto(page.url.partition("#")[0] + "#query=q1")
    columns = page.locator(".column")
    assert columns.locator("h4").all_inner_texts() == ["bm25", "student", "teacher"]
    student = columns.nth(1)
    assert student.locator(".docid").all_inner_texts() == ["d1", "d3", "d2"]
    assert student.locator(".move").all_inner_texts() == ["▲ 1", "▲ 1", "▼ 2"]
    assert student.locator(".grade").all_inner_texts() == ["grade 3", "grade 1", "grade 0"]
    assert columns.nth(2).locator(".move").all_inner_texts() == ["▲ 1", "new", "="]
    assert columns.nth(2).locator(".grade").nth(1).inner_text() == "unjudged"
    assert columns.nth(0).locator(".move").count() == 0
    student.locator("li").first.hover()
    assert page.locator("li.marked .docid").all_inner_texts() == ["d1", "d1", "d1"]


def test_more_of_a_long_text(page):
    page.goto(page.url.partition("#")[0] + "#query=q1")
    item = page.locator(".column").first.locator("li[data-docid=d3]")
    before = len(item.locator(".text").inner_text())
    item.get_by_role("button", name="more").click()
    assert 600 <= before < 620
    assert 3000 <= len(item.locator(".text").text_content()) < 3030
    assert "(cut)" in item.locator(".text").inner_text()
    item.get_by_role("button", name="less").click()
    assert len(item.locator(".text").inner_text()) == before
    assert page.locator(".column").first.locator("li[data-docid=d1] .more").count() == 0


def test_hostile_texts_stay_text(page, texts, topics):
    page.goto(page.url.partition("#")[0] + "#query=q2")
    assert page.locator("#query h3").text_content() == topics["q2"]
    assert page.locator("li[data-docid=d2] .text").first.text_content() == texts["d2"]
    assert page.locator("main script, main img:not(figure img)").count() == 0
    assert "markup" not in page.title()
    assert page.locator("script").count() == 2


def test_queries_by_keys_and_in_the_address(page):
    shown = page.locator("#list a").evaluate_all("links => links.map((link) => link.dataset.qid)")
    assert _opened(page) == shown[0]
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.wait_for_url(f"**#query={shown[2]}")
    assert page.url.endswith(f"#query={shown[2]}")
    assert _opened(page) == shown[2]
    page.keyboard.press("k")
    page.wait_for_function("qid => current.qid === qid", arg=shown[1])
    page.go_back()
    page.wait_for_function("qid => current.qid === qid", arg=shown[2])
    page.get_by_role("button", name="next").click()
    page.wait_for_function("qid => current.qid === qid", arg=shown[3])
    page.get_by_role("button", name="next").click()
    assert _opened(page) == shown[3], "the last stays"


def test_letters_can_be_switched_off(page):
    opened = _opened(page)
    letters = page.get_by_label("Keys")
    letters.uncheck()
    page.keyboard.press("j")
    page.keyboard.press("/")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.activeElement.closest('.column')")
    assert _opened(page) == opened
    letters.check()
    page.keyboard.press("j")
    page.wait_for_function("qid => current.qid !== qid", arg=opened)


def test_runs_by_keys(page):
    focused = "document.activeElement.getAttribute('aria-label')"
    names = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        names.append(page.evaluate(focused))
    assert names == ["bm25", "student", "teacher", "teacher", "student"]


def test_a_query_by_its_address(page):
    page.goto(page.url.partition("#")[0] + "#query=q%2F4_%23")
    assert page.locator("#query").inner_text().count("has no documents for this query") == 3
    page.goto(page.url.partition("#")[0] + "#query=absent")
    assert page.locator("#query").inner_text() == "Query absent is not on this page."


def test_filter_and_order(page):
    page.keyboard.press("/")
    page.keyboard.type("FLAT wave")
    assert page.locator("#count").inner_text() == "1 of 4 queries"
    page.keyboard.press("Tab")
    page.locator("#filter").fill("")
    page.locator("#system").select_option(label="student")
    for order, sign in (("wins", -1), ("losses", 1)):
        page.locator("#order").select_option(order)
        texts = page.locator("#list .difference").all_inner_texts()
        values = [float(text.replace("−", "-")) for text in texts]
        assert values == sorted(values, key=lambda value: sign * value)
    page.locator("#order").select_option("largest")
    sizes = [abs(float(text.replace("−", "-"))) for text in page.locator("#list .difference").all_inner_texts()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0


def test_another_measure(page):
    page.goto(page.url.partition("#")[0] + "#query=q1")
    page.locator("#measure").select_option(label="RR@10")
    assert page.locator(".column header p").first.inner_text() == "RR@10 0.5000"
    assert page.locator(".column header .difference").all_inner_texts() == ["+0.5000", "+0.5000"]


@pytest.mark.parametrize(
    ("scheme", "paper", "inverted"), [("light", "rgb(255, 255, 255)", False), ("dark", "rgb(20, 23, 28)", True)]
)
def test_nothing_overflows_in_light_and_dark(page, scheme, paper, inverted):
    page.emulate_media(color_scheme=scheme)
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    for width in (360, 768, 1600):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), width
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
    assert ("invert" in page.evaluate("getComputedStyle(document.querySelector('figure img')).filter")) == inverted


def test_pictures_are_shown_and_have_names(page):
    pictures = page.locator("figure img")
    assert pictures.count() == 5
    assert all(width > 0 for width in pictures.evaluate_all("all => all.map((picture) => picture.naturalWidth)"))
    assert all(len(name) > 20 for name in pictures.evaluate_all("all => all.map((picture) => picture.alt)"))


def test_paper_is_white(page):
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#controls").is_hidden()
