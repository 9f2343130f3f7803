// The page of a node: gets its state every few seconds, and shows it. It changes nothing.

import { element } from "../viewer/elements.js";
import { openTheme } from "../viewer/theme.js";

const WORDS = { theme: "Light or dark" };
const STATES = {
  received: "wait to be denoised", derived: "wait to be forwarded", forwarded: "forwarded, last 30 days",
  skipped: "skipped, last 30 days", failed: "failed",
};
const PROOFS = {
  commitment: "storage commitment", copy: "the same pixels, returned by the archive", listed: "a query that found it",
  status: "the status Success alone", "": "not recorded",
};
const PAUSE_MS = 5000;

const title = element("h1", {}, "monai-dental node");
const state = element("span", { class: "state", role: "status" });
const message = element("p", { class: "message", role: "alert", hidden: true });
const main = element("main");
const footer = element("footer");
document.body.append(
  element("header", { class: "top" }, title, state, openTheme((name) => WORDS[name])), message, main, footer);

const when = (text) => (text ? new Date(text).toLocaleString() : "never");
const size = (bytes) => (bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(0)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`);

function section(id, heading, ...children) {
  return element("section", { id }, element("h2", {}, heading), ...children);
}

function list(rows) {
  return element("dl", {}, ...rows.map(([name, value, kind]) =>
    element("div", {}, element("dt", {}, name), element("dd", { class: kind }, String(value)))));
}

function table(id, heading, names, rows, nothing, note) {
  const made = section(id, heading);
  made.classList.add("wide");
  if (rows.length === 0) made.append(element("p", { class: "note" }, nothing));
  else made.append(element("table", {},
    element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells)))));
  if (note) made.append(element("p", { class: "note" }, note));
  return made;
}

const cell = (text, kind) => element("td", { class: kind }, text);

function hours(counts) {
  const most = Math.max(1, ...counts);
  const label = `Forwarded in each of the last 24 hours: ${counts.join(", ")}`;
  return element("div", { class: "hours", role: "img", "aria-label": label }, ...counts.map((count, at) => {
    const bar = element("i", { title: `${count}, ${counts.length - at} to ${counts.length - at - 1} hours ago` });
    bar.style.height = `${(100 * count) / most}%`;
    return bar;
  }));
}

function reasonOf(row) {
  if (row.step === "denoise") return "waits for its turn to be denoised";
  const parts = [row.reason || "waits for its turn to be forwarded"];
  if (row.is_original) parts.unshift("the original");
  if (row.refusals) parts.push(`refused ${row.refusals} times`);
  if (row.next) parts.push(`next attempt ${when(row.next)}`);
  return parts.join("; ");
}

function disk({ used, limit, free }) {
  const meter = element("meter", { min: 0, max: limit, high: 0.8 * limit, optimum: 0, value: used });
  return section("disk", "Spool", meter, list([["holds", size(used)], ["may hold", size(limit)], ["free on its disk", size(free)]]));
}

function archive({ archives, proofs }) {
  const proven = Object.entries(proofs).map(([name, count]) => [PROOFS[name] ?? name, count]);
  return section("archive", archives.length > 1 ? "Archives" : "Archive", ...archives.map(({ address, failures, last }) => list([
    ["address", address],
    ["failed attempts in a row", failures, failures ? "bad" : ""],
    ["last result taken", when(last)]])),
  ...(proven.length ? [element("p", { class: "note" }, "Proofs of arrival, last 24 hours"), list(proven)] : []));
}

function more(shown, all, rows) {
  return all > shown ? `The ${rows} oldest of ${all}.` : "";
}

function show(status) {
  document.title = title.textContent = `${status.name}: monai-dental node`;
  state.dataset.state = status.problems.length ? "problem" : "ok";
  state.textContent = status.problems.length ? "needs attention" : "ok";
  tell(status.problems.join("; "));
  const { counts } = status;
  const lastHour = status.by_hour.at(-1);
  main.replaceChildren(
    section("queue", "Instances", list(Object.entries(counts).map(([name, count]) =>
      [STATES[name] ?? name, count, name === "failed" && count ? "bad" : ""]).concat([["associations now", status.associations]]))),
    section("rate", "Forwarded by hour", hours(status.by_hour), element("p", { class: "note" }, `${lastHour} in the last hour`)),
    disk(status.disk), archive(status),
    table("waiting", "What waits, and why", ["instance", "since", "why"],
      status.waiting.map((row) => [cell(row.uid), cell(when(row.since), "time"), cell(reasonOf(row))]), "Nothing waits.",
      more(status.waiting.length, counts.received + counts.derived, status.rows)),
    table("failed", "What failed, and why", ["instance", "since", "reason"],
      status.failed.map((row) => [cell(row.uid), cell(when(row.since), "time"), cell(row.reason)]), "Nothing failed.",
      more(status.failed.length, counts.failed, status.rows)),
    table("skipped", "What was skipped, and why", ["number", "reason"],
      status.skipped.map((row) => [cell(String(row.count)), cell(row.reason)]), "Nothing was skipped."));
  footer.textContent = `version ${status.version}, started ${when(status.started)}; looked at ${new Date().toLocaleTimeString()}`;
}

function tell(text) {
  message.textContent = text;
  message.hidden = text === "";
}

async function look() {
  try {
    const answer = await fetch("status.json");
    if (!answer.ok) throw new Error(await answer.text());
    show(await answer.json());
  } catch (error) {
    state.dataset.state = "problem";
    state.textContent = "unknown";
    tell(error instanceof TypeError ? "The node does not answer." : error.message);
  }
  setTimeout(look, document.hidden ? 6 * PAUSE_MS : PAUSE_MS);
}

look();
