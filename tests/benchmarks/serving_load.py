"""The service under load: many clients for a minute, every answer checked against the offline score.

    python tests/benchmarks/serving_load.py COLLECTION TOPICS [--model NAME ...] [--backend torch] [--precision float32]
        [--clients 50] [--seconds 60]

Each client asks again as soon as it has its answer: /rerank with texts, /rerank with docids of the index, and /search
with a model, in turns. Beside them one client sends what must be refused: oversized, malformed and slow bodies. Prints
errors, lost and wrong answers, latency, and the memory of the service after 10 s and at the end (Linux).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import httpx

from reranker_kd import load_reranker
from reranker_kd.formats.collections import read_collection
from reranker_kd.formats.topics import read_topics
from reranker_kd.types import Candidate, Query

DOCUMENTS = 2000
QUERIES = 20
CANDIDATES = 10
JSON = {"content-type": "application/json"}


class Load:
    """Requests with their expected answers, and what came of them."""

    def __init__(self, address: str, expected: dict[tuple[str, str], dict[str, float]], texts: dict[str, str]) -> None:
        self._address = address
        self._expected = expected
        self._texts = texts
        self.milliseconds: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()

    async def client(self, seed: int, until: float) -> None:
        """Ask again and again until a time."""
        generator = random.Random(seed)
        async with httpx.AsyncClient(base_url=self._address, timeout=60) as connection:
            for turn in range(seed, sys.maxsize):
                if time.monotonic() > until:
                    return
                (model, query), scores = generator.choice(list(self._expected.items()))
                chosen = generator.sample(list(scores), generator.randint(1, len(scores)))
                start = time.perf_counter()
                try:
                    path, request = self._request(turn % 3, model, query, chosen)
                    response = await connection.post(path, json=request)
                    self.milliseconds.append(1000 * (time.perf_counter() - start))
                    self.outcomes[self._judged(response, scores, chosen, path)] += 1
                except httpx.HTTPError as error:
                    self.outcomes[f"lost: {type(error).__name__}"] += 1

    def _request(self, kind: int, model: str, query: str, chosen: list[str]) -> tuple[str, dict]:
        if kind == 0:
            return "/search", {"query": query, "model": model, "hits": CANDIDATES, "depth": CANDIDATES}
        candidates = chosen if kind == 1 else [{"docid": docid, "text": self._texts[docid]} for docid in chosen]
        return "/rerank", {"query": query, "model": model, "candidates": candidates}

    def _judged(self, response: httpx.Response, scores: dict[str, float], chosen: list[str], path: str) -> str:
        if response.status_code != 200:
            return f"error {response.status_code}: {response.text[:80]}"
        ranking = response.json()["ranking"]
        wanted = set(scores if path == "/search" else chosen)
        if {ranked["docid"] for ranked in ranking} != wanted:
            return "wrong: other documents"
        if any(abs(ranked["score"] - scores[ranked["docid"]]) > 1e-5 for ranked in ranking):
            return "wrong: other scores"
        listed = [ranked["score"] for ranked in ranking]
        return "right" if listed == sorted(listed, reverse=True) else "wrong: order"

    async def hostile(self, until: float) -> None:
        """Send what must be refused, and count with which status it is."""
        large = b" " * (9 * 2**20)
        async with httpx.AsyncClient(base_url=self._address, timeout=60) as connection:
            while time.monotonic() < until:
                for content in (large, b'{"query": ', b"[" * 10_000, self._slow()):
                    response = await connection.post("/rerank", content=content, headers=JSON)
                    self.refused[response.status_code] += 1

    @staticmethod
    async def _slow():
        yield b"{"
        await asyncio.sleep(5)


def expected_scores(
    models: list[str], engine: dict[str, str], queries: list[str], found: dict[str, list[str]], texts: dict[str, str]
) -> dict:
    """Return (model's name, query) -> docid -> score, by the offline call, a query at a time."""
    expected = {}
    for model in models:
        reranker = load_reranker(model, **engine)
        for query in queries:
            candidates = [Candidate(docid, 0.0, texts[docid]) for docid in found[query]]
            ranking = reranker.rerank(Query("", query), candidates)
            expected[Path(model).name, query] = {ranked.docid: ranked.score for ranked in ranking.candidates}
    return expected


async def run_load(load: Load, clients: int, seconds: float, process: subprocess.Popen) -> dict[str, float]:
    """Run all clients; return megabytes of the service's memory by when they were read."""
    until = time.monotonic() + seconds
    tasks = [asyncio.create_task(load.client(seed, until)) for seed in range(clients)]
    tasks.append(asyncio.create_task(load.hostile(until)))
    await asyncio.sleep(min(10, seconds / 2))
    memory = {"after 10 s": resident_megabytes(process.pid)}
    await asyncio.sleep(max(0, until - time.monotonic() - 0.5))
    memory["at the end"] = resident_megabytes(process.pid)
    await asyncio.gather(*tasks)
    return memory


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def main() -> None:
    """Serve, load, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("collection")
    parser.add_argument("topics")
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    models = asked.models or ["twin"]
    engine = {"backend": asked.backend, "precision": asked.precision}
    texts = {d.docid: d.text for d in islice(read_collection(asked.collection), DOCUMENTS) if d.text.strip()}
    queries = list(islice(dict.fromkeys(read_topics(asked.topics).values()), QUERIES))
    with tempfile.TemporaryDirectory() as temporary:
        sample = Path(temporary) / "docs.tsv"
        sample.write_text("".join(f"{docid}\t{' '.join(text.split())}\n" for docid, text in texts.items()))
        command = [sys.executable, "-m", "reranker_kd", "serve", "--collection", str(sample), "--port", "0", "--quiet"]
        command += ["--body-timeout-s", "2", *(part for model in models for part in ("--model", model))]
        command += [part for name, value in engine.items() for part in (f"--{name}", value)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            line = process.stderr.readline()
            if not (address := re.search(r"serving .* on (http://\S+)", line)):
                raise SystemExit(line + process.stderr.read())
            found = {}
            for query in queries:
                hits = httpx.post(f"{address[1]}/search", json={"query": query, "hits": CANDIDATES}).json()["ranking"]
                found[query] = [hit["docid"] for hit in hits]
                texts |= {hit["docid"]: hit["text"] for hit in hits}
            expected = expected_scores(models, engine, [query for query in queries if found[query]], found, texts)
            load = Load(address[1], expected, texts)
            memory = asyncio.run(run_load(load, asked.clients, asked.seconds, process))
            process.send_signal(signal.SIGTERM)
            status = process.wait(60)
        finally:
            process.kill()
    cuts = statistics.quantiles(load.milliseconds, n=20)
    by = f"{', '.join(models)} by {asked.backend}"
    print(f"{asked.clients} clients, {asked.seconds:g} s, {by}, 1 to {CANDIDATES} candidates a request")
    print(f"answers        {dict(load.outcomes)}, {len(load.milliseconds) / asked.seconds:.0f} a second")
    print(f"refused        {dict(sorted(load.refused.items()))}")
    print(f"milliseconds   p50 {statistics.median(load.milliseconds):.0f}, p95 {cuts[18]:.0f}")
    print(f"memory         {', '.join(f'{megabytes:.0f} MB {when}' for when, megabytes in memory.items())}")
    print(f"exit status    {status}")


if __name__ == "__main__":
    main()
