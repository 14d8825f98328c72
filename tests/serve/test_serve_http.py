"""The service over HTTP: answers as the offline call gives them, and every wrong request refused in one line."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reranker_kd import load_reranker
from reranker_kd.rerank.base import Reranker
from reranker_kd.retrieve.lucene import SearchSettings
from reranker_kd.types import Candidate

JSON = {"content-type": "application/json"}
QUERY = "heat flow"


def _candidates(texts, docids=None):
    return [{"docid": docid, "text": texts[docid]} for docid in docids or texts]


def _refused(response: httpx.Response, status: int, expected: str) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    assert expected in body["error"]
    assert "\n" not in body["error"]


def _assert_offline(answer: dict, reranker: Reranker, query: str, candidates: list[Candidate], depth=None) -> None:
    ranking = reranker.rerank(query, candidates, depth=depth).candidates
    assert [ranked["docid"] for ranked in answer["ranking"]] == [candidate.docid for candidate in ranking]
    scores = [ranked["score"] for ranked in answer["ranking"]]
    assert scores == pytest.approx([candidate.score for candidate in ranking], abs=1e-5)
    assert [ranked["rank"] for ranked in answer["ranking"]] == list(range(1, len(ranking) + 1))


@pytest.mark.parametrize("depth", [None, 2, 6, 20])
def test_rerank_gives_what_the_offline_call_gives(client, offline, texts, depth):
    request = {"query": QUERY, "candidates": _candidates(texts), "model": "tiny", "depth": depth}
    response = client.post("/rerank", json=request)
    assert response.status_code == 200
    answer = response.json()
    assert answer["model"] == "tiny"
    assert set(answer["milliseconds"]) == {"texts", "waiting", "reranking"}
    candidates = [Candidate(docid, -i, text) for i, (docid, text) in enumerate(texts.items())]
    _assert_offline(answer, offline["tiny"], QUERY, candidates, depth)


def test_docids_stand_for_texts_of_the_index(client, texts):
    by_text = client.post("/rerank", json={"query": QUERY, "candidates": _candidates(texts), "model": "other"})
    mixed = ["d1", {"docid": "d2", "text": texts["d2"]}, "d3", "d4", "d5", "hostile"]
    by_docid = client.post("/rerank", json={"query": QUERY, "candidates": mixed, "model": "other"})
    assert by_docid.json()["ranking"] == by_text.json()["ranking"]


def test_search_by_bm25(client, served_index, texts):
    answer = client.post("/search", json={"query": QUERY, "hits": 3}).json()
    expected = served_index.search({"q": QUERY}, SearchSettings(hits=3))["q"]
    assert {hit["docid"]: hit["score"] for hit in answer["ranking"]} == expected
    assert [hit["docid"] for hit in answer["ranking"]] == list(expected)
    assert all(hit["text"] == texts[hit["docid"]] for hit in answer["ranking"])
    assert answer["model"] is None


@pytest.mark.parametrize(("hits", "depth"), [(2, 5), (5, 2)])
def test_search_and_rerank(client, served_index, offline, texts, hits, depth):
    answer = client.post("/search", json={"query": QUERY, "hits": hits, "model": "tiny", "depth": depth}).json()
    found = served_index.search({"q": QUERY}, SearchSettings(hits=5))["q"]
    candidates = [Candidate(docid, score, texts[docid]) for docid, score in found.items()]
    expected = offline["tiny"].rerank(QUERY, candidates, depth=depth).candidates[:hits]
    assert [hit["docid"] for hit in answer["ranking"]] == [candidate.docid for candidate in expected]
    assert set(answer["milliseconds"]) == {"retrieving", "texts", "waiting", "reranking"}


@pytest.mark.parametrize("model", [None, "tiny"])
def test_a_query_that_matches_nothing(client, model):
    answer = client.post("/search", json={"query": "zymurgy", "model": model})
    assert (answer.status_code, answer.json()["ranking"]) == (200, [])


def test_twenty_clients_at_once_get_their_own_answers(client, offline, texts):
    generator = random.Random(7)
    words = " ".join(texts.values()).split()

    def request(number: int) -> dict:
        docids = generator.sample(list(texts), generator.randint(1, len(texts)))
        lengthened = {docid: " ".join([texts[docid], *generator.sample(words, number % 17)]) for docid in docids}
        return {
            "query": " ".join(generator.sample(words, 1 + number % 5)),
            "candidates": _candidates(lengthened),
            "model": generator.choice(["tiny", "other"]),
        }

    requests = [request(number) for number in range(200)]
    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda asked: client.post("/rerank", json=asked), requests))
    for asked, answer in zip(requests, answers, strict=True):
        assert answer.status_code == 200, answer.text
        candidates = [Candidate(document["docid"], 0, document["text"]) for document in asked["candidates"]]
        _assert_offline(answer.json(), offline[asked["model"]], asked["query"], candidates)


def test_models_health_and_schema(client):
    models = client.get("/models").json()
    assert [model["name"] for model in models["models"]] == ["tiny", "other"]
    assert models["documents"] == 6
    assert models["limits"]["max_candidates"] == 20
    assert models["examples"] == ["shock wave", "heat & <b>flow</b>"]
    assert client.get("/health").json()["status"] == "ok"
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/rerank", "/search", "/models", "/health"}


def test_the_reference_page_names_every_route_and_fetches_nothing(client):
    page = client.get("/docs")
    assert page.status_code == 200
    for expected in ("POST /rerank", "POST /search", "GET /models", "GET /health", "candidates", "Retry-After"):
        assert expected in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "script-src 'none'" in page.headers["content-security-policy"]


def test_headers_let_no_other_site_in(client):
    response = client.get("/health", headers={"origin": "https://elsewhere.example"})
    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    _refused(client.options("/rerank"), 405, "Method Not Allowed")


@pytest.mark.parametrize(
    ("change", "status", "expected"),
    [
        ({"query": ""}, 422, "query: is empty"),
        ({"query": " \n"}, 422, "query: is empty"),
        ({"query": "x" * 101}, 422, "query: 101 characters, where 100 are the limit"),
        ({"query": 7}, 422, "query: Input should be a valid string"),
        ({"model": "nobody"}, 404, "no model 'nobody' here: take one of tiny, other"),
        ({"model": None}, 422, "model: "),
        ({"depth": 0}, 422, "depth: Input should be greater than or equal to 1"),
        ({"depth": "3"}, 422, "depth: "),
        ({"candidates": []}, 422, "candidates: "),
        ({"candidates": ["d1", "nowhere"]}, 422, "document 'nowhere' is not in the index"),
        ({"candidates": ["d1", "d2", "d1"]}, 422, "candidates.2: document 'd1' stands twice"),
        ({"candidates": [f"d{i}" for i in range(21)]}, 422, "candidates: 21, where 20 are the limit"),
        ({"candidates": [{"docid": "x", "text": "y" * 501}]}, 422, "candidates.0: 501 characters, where 500 are"),
        ({"candidates": [{"docid": "x", "text": " "}]}, 422, "candidates.0: document 'x' is empty"),
        ({"candidates": [{"docid": "x"}]}, 422, "candidates.0.Document.text: Field required"),
        ({"candidates": [{"docid": "", "text": "y"}]}, 422, "candidates.0.Document.docid: "),
        ({"candidates": ["y" * 600]}, 422, "candidates.0"),
        ({"candidates": [["d1"]]}, 422, "candidates.0"),
        ({"further": 1}, 422, "further: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_field(client, change, status, expected):
    request = {"query": QUERY, "candidates": ["d1", "d2"], "model": "tiny", **change}
    _refused(client.post("/rerank", json=request), status, expected)


@pytest.mark.parametrize(
    ("change", "status", "expected"),
    [
        ({"query": ""}, 422, "query: is empty"),
        ({"hits": 21}, 422, "hits: 21, where 20 are the limit"),
        ({"depth": 21}, 422, "depth: 21, where 20 are the limit"),
        ({"hits": 0}, 422, "hits: "),
        ({"hits": True}, 422, "hits: "),
        ({"model": "nobody"}, 404, "no model 'nobody'"),
    ],
)
def test_a_wrong_search(client, change, status, expected):
    _refused(client.post("/search", json={"query": QUERY, "depth": 5, **change}), status, expected)


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"", 422, "body: Field required"),
        (b"{", 400, "invalid JSON at character 1"),
        (b"[" * 10_000, 400, "error parsing the body"),
        (b"\xff\xfe", 400, "invalid JSON at character 0"),
        (b"[]", 422, "body: "),
        (b'{"query": "\\ud800", "candidates": ["d1"], "model": "tiny"}', 422, "query: Value error, holds half"),
    ],
)
def test_a_malformed_body(client, body, status, expected):
    _refused(client.post("/rerank", content=body, headers=JSON), status, expected)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        {"query": st.just(QUERY) | _VALUES, "candidates": st.lists(st.sampled_from(["d1", "d2"]) | _VALUES)},
        optional={"model": st.just("tiny") | _VALUES, "depth": _VALUES, "hits": _VALUES},
    ),
    st.sampled_from(["/rerank", "/search"]),
)
def test_whatever_is_sent_gets_an_answer_or_one_line(client, request, path):
    response = client.post(path, content=json.dumps(request).encode(), headers=JSON)
    assert response.status_code in {200, 404, 422}
    if response.status_code != 200:
        assert set(response.json()) == {"error"}


def test_unknown_paths_and_methods(client):
    _refused(client.get("/nothing"), 404, "Not Found")
    _refused(client.get("/rerank"), 405, "Method Not Allowed")
    _refused(client.post("/rerank", content=b"query=x"), 415, "Content-Type: application/json")


def test_without_an_index(serving, cross_encoder_folder, texts):
    with serving({"tiny": load_reranker(cross_encoder_folder, backend="torch")}) as client:
        _refused(client.post("/search", json={"query": QUERY}), 422, "this service has no index")
        request = {"query": QUERY, "candidates": ["d1"], "model": "tiny"}
        _refused(client.post("/rerank", json=request), 422, "document 'd1': comes without text, and there is no index")
        assert client.post("/rerank", json={**request, "candidates": _candidates(texts)}).status_code == 200
        assert client.get("/models").json()["documents"] is None
