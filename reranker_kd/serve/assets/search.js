"use strict";

const byId = (id) => document.getElementById(id);
// Of several searches only the last one may fill the columns.
let latest = 0;

// Texts go in as text nodes only, so that markup in a document is shown, never read.
function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

async function ask(path, body) {
  const headers = byId("key").value ? { "X-API-Key": byId("key").value } : {};
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  if (response.status === 401) byId("key-field").hidden = false;
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function say(text, isFault) {
  byId("status").textContent = text;
  byId("status").classList.toggle("fault", Boolean(isFault));
}

function addColumn(name) {
  const column = element("section", "column");
  column.setAttribute("aria-label", name);
  const header = element("header");
  header.append(element("h2", "", name), element("p", "times", "…"));
  const list = element("ol");
  column.append(header, list);
  byId("columns").append(column);
  return { times: header.querySelector(".times"), list };
}

function move(rank, before) {
  if (before === undefined) return element("span", "move", "");
  const up = before - rank;
  const shown = element("span", `move ${up > 0 ? "up" : up < 0 ? "down" : ""}`);
  shown.textContent = up > 0 ? `▲ ${up}` : up < 0 ? `▼ ${-up}` : "=";
  shown.title = `BM25: rank ${before}`;
  shown.setAttribute("aria-label", `BM25 has it at rank ${before}`);
  return shown;
}

function item(document_, text, before) {
  const row = element("li");
  row.dataset.docid = document_.docid;
  const details = element("details");
  const summary = element("summary");
  const place = element("div", "place");
  place.append(
    element("span", "rank", String(document_.rank)),
    element("span", "docid", document_.docid),
    move(document_.rank, before),
    element("span", "score", document_.score.toFixed(3)),
  );
  summary.append(place, element("div", "snippet", text.slice(0, 300)));
  details.append(summary, element("p", "text", text));
  row.append(details);
  return row;
}

function fill(column, ranking, times, texts, ranksBefore) {
  column.times.textContent = times;
  for (const found of ranking) column.list.append(item(found, texts.get(found.docid), ranksBefore?.get(found.docid)));
}

function mark(target) {
  const docid = target instanceof Element ? target.closest("li")?.dataset.docid : undefined;
  for (const row of document.querySelectorAll("li")) row.classList.toggle("marked", row.dataset.docid === docid);
}

const ms = (value) => `${value.toFixed(value < 10 ? 1 : 0)} ms`;

async function introduce() {
  const served = await ask("/models");
  const { models, documents, limits, examples } = served;
  const index = documents === null ? "no index" : `${documents.toLocaleString("en")} documents`;
  byId("about").textContent = `${index} · ${models.map((model) => model.name).join(", ")}`;
  byId("query").maxLength = limits.max_query_chars;
  for (const id of ["hits", "depth"]) {
    byId(id).max = limits.max_candidates;
    byId(id).value = Math.min(byId(id).value, limits.max_candidates);
  }
  if (documents === null) throw new Error("This service has no index: start it with --index or --collection.");
  if (byId("examples").hidden) byId("examples").append(...examples.map(example));
  byId("examples").hidden = !examples.length;
  return models;
}

async function rerank(name, query, depth, hits, texts, ranks) {
  const column = addColumn(name);
  try {
    const candidates = [...texts.keys()];
    const answer = await ask("/rerank", { query, candidates, model: name, depth });
    const { waiting, reranking } = answer.milliseconds;
    const times = `${ms(reranking)} reranking ${Math.min(depth, candidates.length)}, ${ms(waiting)} waiting`;
    fill(column, answer.ranking.slice(0, hits), times, texts, ranks);
  } catch (fault) {
    column.times.textContent = fault.message;
    column.times.classList.add("fault");
  }
}

async function search() {
  const turn = ++latest;
  const query = byId("query").value;
  say("Searching …");
  try {
    const models = await introduce();
    const hits = Number(byId("hits").value);
    const depth = Number(byId("depth").value);
    const { ranking, milliseconds } = await ask("/search", { query, hits: Math.max(hits, depth) });
    if (turn !== latest) return;
    byId("columns").replaceChildren();
    const texts = new Map(ranking.map((found) => [found.docid, found.text]));
    const ranks = new Map(ranking.map((found) => [found.docid, found.rank]));
    fill(addColumn("BM25"), ranking.slice(0, hits), `${ms(milliseconds.retrieving)} retrieving`, texts);
    say(ranking.length ? `${ranking.length} candidates` : "No document matches.");
    if (!ranking.length) return;
    await Promise.all(models.map(({ name }) => rerank(name, query, depth, hits, texts, ranks)));
    if (turn === latest) say(`${ranking.length} candidates, all columns are there.`);
  } catch (fault) {
    if (turn === latest) say(fault.message, true);
  }
}

// What is asked stands in the address, so that the page can be reloaded, shared and gone back to.
const fields = ["query", "hits", "depth"];

function address() {
  return `?${new URLSearchParams(fields.map((id) => [id, byId(id).value]))}`;
}

function submit() {
  if (address() !== location.search) history.pushState(null, "", address());
  search();
}

function example(query) {
  const link = element("a", "", query);
  link.href = `?${new URLSearchParams({ query })}`;
  link.addEventListener("click", (event) => {
    event.preventDefault();
    byId("query").value = query;
    submit();
  });
  return link;
}

async function start() {
  try {
    await introduce();
    if (byId("ask").checkValidity()) search();
  } catch (fault) {
    say(fault.message, true);
  }
}

function restore() {
  const given = new URLSearchParams(location.search);
  for (const id of fields) {
    byId(id).value = given.get(id);
    byId(id).value ||= byId(id).defaultValue;
  }
  latest++;
  byId("columns").replaceChildren();
  say("");
  start();
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
byId("key").addEventListener("change", start);
addEventListener("popstate", restore);
for (const kind of ["mouseover", "focusin"]) byId("columns").addEventListener(kind, (event) => mark(event.target));
restore();
