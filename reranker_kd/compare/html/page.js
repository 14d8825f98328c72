"use strict";

// Names, queries and documents are anybody's: they reach the page through textContent alone.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function make(tag, classes = "", text = "", ...children) {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

const signed = (figure) => `${figure < 0 ? "−" : "+"}${Math.abs(figure).toFixed(4)}`;
const direction = (figure) => (Math.abs(figure) <= 1e-9 ? "" : figure > 0 ? "up" : "down");

// Tables

function makeButton(classes, text, act) {
  const button = make("button", classes, text);
  button.type = "button";
  button.addEventListener("click", () => act(button));
  return button;
}

function makeTable({ title, header, rows, texts }) {
  const body = make("tbody");
  const headings = header.map((name, place) => {
    const heading = make("th", place < texts ? "words" : "", "", makeButton("", name, () => {
      const descending = heading.getAttribute("aria-sort") === "none" ? place >= texts : heading.getAttribute("aria-sort") === "ascending";
      for (const other of headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      body.append(...sorted([...body.rows], place, descending, place < texts));
    }));
    heading.scope = "col";
    heading.setAttribute("aria-sort", "none");
    return heading;
  });
  for (const row of rows) {
    const cells = row.map((text, place) => make(place ? "td" : "th", place < texts ? "words" : "", text));
    cells[0].scope = "row";
    body.append(make("tr", "", "", ...cells));
  }
  const table = make("table", "", "", make("thead", "", "", make("tr", "", "", ...headings)), body);
  table.setAttribute("aria-label", title);
  return scrolling(table, title);
}

function scrolling(table, label) {
  const frame = make("div", "scrolling", "", table);
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", label);
  return frame;
}

function sorted(rows, place, descending, asText) {
  const sign = descending ? -1 : 1;
  // What is no figure comes last either way.
  const keyed = rows.map((row) => ({ row, text: row.cells[place].textContent, figure: figureIn(row.cells[place].textContent) }));
  keyed.sort((a, b) => {
    if (asText) return sign * a.text.localeCompare(b.text, undefined, { numeric: true });
    if (a.figure === null || b.figure === null) return (a.figure === null) - (b.figure === null);
    return sign * (a.figure - b.figure);
  });
  return keyed.map(({ row }) => row);
}

function figureIn(text) {
  const found = text.match(/[-+]?\d+(\.\d+)?(e[-+]?\d+)?/);
  if (!found) return null;
  // "<0.0001" comes before 0.0001.
  return Number(found[0]) * (text.startsWith("<") ? 0.5 : 1);
}

function showSummary() {
  data.tables.forEach((table, place) => {
    const fold = make("details", "", "", make("summary", "", table.title), makeTable(table));
    fold.open = place < 2 || table.title === "cost";
    byId("tables").append(fold);
  });
  byId("test").textContent = data.test;
  for (const { name, files } of data.files) {
    const model = data.models[name];
    byId("files").append(make("dt", "", name), make("dd", "", files.join(", ") + (model ? ` (model ${model})` : "")));
  }
  byId("notes").textContent = data.notes.join(" ");
  for (const reason of data.leftOut) byId("left-out").append(make("li", "", `Left out: ${reason}.`));
}

// The list of queries

const baseline = data.systems.indexOf(data.baseline);
const others = data.systems.filter((name) => name !== data.baseline);
let listed = [];
let current = null;

function difference(query) {
  const measure = Number(byId("measure").value);
  const chosen = byId("system").value;
  const above = (name) => query.figures[data.systems.indexOf(name)][measure] - query.figures[baseline][measure];
  if (chosen !== "") return above(others[Number(chosen)]);
  return others.map(above).reduce((most, each) => (Math.abs(each) > Math.abs(most) ? each : most), 0);
}

const orders = {
  largest: (a, b) => Math.abs(b.change) - Math.abs(a.change),
  wins: (a, b) => b.change - a.change,
  losses: (a, b) => a.change - b.change,
  qid: (a, b) => a.query.qid.localeCompare(b.query.qid, undefined, { numeric: true }),
};

function showList() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const matching = data.queries.filter(({ qid, text }) => words.every((word) => `${qid} ${text}`.toLowerCase().includes(word)));
  const entries = matching.map((query) => ({ query, change: difference(query) }));
  entries.sort(orders[byId("order").value]);
  listed = entries.map(({ query }) => query);
  byId("list").replaceChildren(...entries.map(({ query, change }) => {
    const link = make("a", "", "", make("span", `difference ${direction(change)}`, others.length ? signed(change) : ""), make("span", "", query.text ? `${query.text} (${query.qid})` : query.qid));
    link.href = fragmentOf(query);
    link.dataset.qid = query.qid;
    return make("li", "", "", link);
  }));
  byId("count").textContent = `${listed.length} of ${data.queries.length} queries`;
  markCurrent();
}

function markCurrent() {
  for (const link of byId("list").querySelectorAll("a")) {
    if (current && link.dataset.qid === current.qid) {
      link.setAttribute("aria-current", "true");
      const list = byId("list");
      const top = link.offsetTop - list.offsetTop;
      if (top < list.scrollTop || top + link.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top - 40;
    } else {
      link.removeAttribute("aria-current");
    }
  }
}

// One query

const fragmentOf = (query) => `#query=${encodeURIComponent(query.qid)}`;

function step(by) {
  if (!listed.length) return;
  const place = listed.indexOf(current);
  const next = place < 0 ? 0 : Math.min(listed.length - 1, Math.max(0, place + by));
  // At once, as the event of the new fragment comes after the next key.
  showQuery(listed[next]);
  location.hash = fragmentOf(listed[next]);
}

function showQuery(query) {
  current = query;
  const steps = [makeButton("step", "← previous", () => step(-1)), makeButton("step", "next →", () => step(1))];
  const asked = make("div", "asked", "", make("h3", "", query.text || query.qid), make("div", "steps", "", ...steps));
  const facts = `qid ${query.qid} · ${query.relevant} documents of grade ${data.relevance} and above`;
  const columns = make("div", "columns");
  columns.append(...data.columns.map((name, place) => makeColumn(query, name, query.columns[place])));
  byId("query").replaceChildren(asked, make("p", "quiet", facts), columns);
  markCurrent();
}

function makeColumn(query, name, top) {
  const column = make("section", "column");
  column.tabIndex = 0;
  column.setAttribute("aria-label", name);
  const header = make("header", "", "", make("h4", "", name));
  const system = data.systems.indexOf(name);
  if (system >= 0) {
    const measure = Number(byId("measure").value);
    const figure = query.figures[system][measure];
    const line = make("p", "quiet", `${data.measures[measure]} ${figure.toFixed(4)} `);
    if (system !== baseline) {
      const change = figure - query.figures[baseline][measure];
      line.append(make("span", `difference ${direction(change)}`, signed(change)));
    }
    header.append(line);
  }
  const found = top.filter(([place]) => isRelevant(query.documents[place])).length;
  header.append(make("p", "quiet", top.length ? `${found} of the top ${top.length} relevant` : "has no documents for this query"));
  const list = make("ol");
  top.forEach(([place, score], above) => list.append(makeDocument(query.documents[place], above + 1, score, name)));
  column.append(header, list);
  return column;
}

const isRelevant = ({ grade }) => grade !== null && grade >= data.relevance;

function makeDocument(found, rank, score, name) {
  const place = make("div", "place", "", make("span", "rank", `${rank}`), make("span", "docid", found.docid));
  place.title = `score ${score}`;
  if (name !== data.reference) place.append(makeMove(found.rank, rank));
  const grade = found.grade === null ? "unjudged" : isRelevant(found) ? "relevant" : "";
  place.append(make("span", `grade ${grade}`, found.grade === null ? "unjudged" : `grade ${found.grade}`));
  const item = make("li", "", "", place);
  item.dataset.docid = found.docid;
  if (found.text !== undefined) item.append(makeText(found));
  if (found.missing) item.append(make("p", "text absent", "The collection lacks its text."));
  return item;
}

function makeMove(before, rank) {
  if (before === null) {
    const fresh = make("span", "move", "new");
    fresh.title = `${data.reference} lacks it`;
    return fresh;
  }
  const up = before - rank;
  const move = make("span", `move ${direction(up)}`, up > 0 ? `▲ ${up}` : up < 0 ? `▼ ${-up}` : "=");
  move.title = `rank ${before} in ${data.reference}`;
  return move;
}

function makeText({ text, more, cut }) {
  const shown = make("p", "text", text);
  if (!more) return shown;
  const rest = document.createTextNode("");
  const unfold = makeButton("more", "more", (button) => {
    const open = button.getAttribute("aria-expanded") === "true";
    rest.data = open ? "" : more + (cut ? " … (cut)" : "");
    button.textContent = open ? "more" : "less";
    button.setAttribute("aria-expanded", String(!open));
  });
  unfold.setAttribute("aria-expanded", "false");
  shown.append(rest, " ", unfold);
  return shown;
}

function markDocument(target) {
  const docid = target.closest?.("li[data-docid]")?.dataset.docid;
  for (const item of byId("query").querySelectorAll("li")) item.classList.toggle("marked", item.dataset.docid === docid);
}

// Keys and the fragment

function moveColumn(by) {
  const columns = [...byId("query").querySelectorAll(".column")];
  const place = columns.indexOf(document.activeElement.closest(".column"));
  const next = columns[place < 0 ? (by > 0 ? 0 : columns.length - 1) : Math.min(columns.length - 1, Math.max(0, place + by))];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ inline: "nearest", block: "nearest" });
}

const keys = {
  j: () => step(1),
  k: () => step(-1),
  ArrowRight: () => moveColumn(1),
  ArrowLeft: () => moveColumn(-1),
  "/": () => byId("filter").focus(),
};

document.addEventListener("keydown", (event) => {
  const act = keys[event.key];
  if (!act || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest("input:not([type=checkbox]), select, .scrolling")) return;
  // Who speaks to the machine may say a letter without meaning a key (WCAG 2.2, 2.1.4).
  if (event.key.length === 1 && !byId("letters").checked) return;
  event.preventDefault();
  act();
});

function followFragment() {
  const match = location.hash.match(/^#query=(.*)$/s);
  if (!match) return false;
  let qid = match[1];
  try {
    qid = decodeURIComponent(qid);
  } catch {
    // As it stands, then.
  }
  const query = data.queries.find((each) => each.qid === qid);
  if (query === current && query) return true;
  if (query) showQuery(query);
  else byId("query").replaceChildren(make("p", "quiet", `Query ${qid} is not on this page.`));
  return true;
}

function start() {
  showSummary();
  byId("system").append(new Option("any", ""), ...others.map((name, place) => new Option(name, String(place))));
  byId("measure").append(...data.measures.map((name, place) => new Option(name, String(place))));
  if (!others.length) {
    byId("system").parentElement.hidden = true;
    byId("order").value = "qid";
  }
  showList();
  if (!followFragment() && listed.length) showQuery(listed[0]);
  else if (location.hash.startsWith("#query=")) byId("queries").scrollIntoView();
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("filter").addEventListener("input", showList);
  for (const id of ["system", "order"]) byId(id).addEventListener("change", showList);
  byId("measure").addEventListener("change", () => {
    showList();
    if (current) showQuery(current);
  });
  window.addEventListener("hashchange", followFragment);
  for (const kind of ["mouseover", "focusin"]) byId("query").addEventListener(kind, (event) => markDocument(event.target));
}

start();
