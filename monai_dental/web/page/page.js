// The page: adds, lists, opens and saves images. The viewer shows them; the server denoises them.

import { element, icon } from "../viewer/elements.js";
import { Plane } from "../viewer/pixels.js";
import { openTheme } from "../viewer/theme.js";
import { Viewer } from "../viewer/viewer.js";
import * as api from "./api.js";
import { chosen, listenToDrops, Queue } from "./drop.js";
import { words } from "./language.js";
import { List } from "./list.js";
import { DetailsPanel } from "./panel.js";

const { settings } = JSON.parse(document.getElementById("data").textContent);
document.documentElement.lang = words.tag;
document.title = words("app.title");

const images = new Map();
let opened = null;
let isChosen = false; // by the user; else a failed image is replaced by the next
let opening = null;
let revision = 0;
let sending = 0;

const action = (name, drawing, run, kind = "") =>
  element("button", { type: "button", class: `action ${kind}`, id: name.replace(".", "-"), onclick: run, title: words(name) },
    icon(drawing), element("span", {}, words(name)));

const files = element("input", { type: "file", multiple: true, hidden: true, id: "files", onchange: () => take(files) });
const folder = element("input", { type: "file", webkitdirectory: true, hidden: true, id: "folder", onchange: () => take(folder) });
const list = new List(words, { onOpen: (key) => choose(key), onRemove: (key) => remove(key) });
const progress = element("p", { class: "progress", role: "status" });
const message = element("p", { class: "message", role: "alert", hidden: true });
const buttons = {
  save: action("save", "save", () => save(), "primary"),
  keep: action("keep", "keep", () => keep()),
  all: action("save.all", "archive", () => saveAll()),
  report: action("report", "report", () => report()),
  details: action("details", "details", () => panel.toggle()),
};
const viewerHost = element("section", { class: "picture-area", "aria-label": words("layer.image") });
const side = element("aside", { class: "side", "aria-label": words("images") },
  element("div", { class: "adders" }, action("add.files", "add", () => files.click()), action("add.folder", "folder", () => folder.click())),
  progress, list.root, element("p", { class: "imprint" }, words("imprint")));
const welcome = element("div", { class: "welcome" },
  icon("add"), element("h2", {}, words("drop.title")), element("p", {}, words("drop.text")),
  element("div", { class: "row" },
    element("button", { type: "button", class: "primary", onclick: () => files.click() }, words("add.files")),
    element("button", { type: "button", onclick: () => folder.click() }, words("add.folder"))));
const details = element("aside", { class: "panel", hidden: true, tabindex: "0", "aria-label": words("details") });
const main = element("main", {}, side, viewerHost, details, welcome);
document.body.append(
  element("header", { class: "top" }, element("h1", {}, words("app.title")),
    element("div", { class: "actions" }, ...Object.values(buttons), openTheme(words, "dark"))),
  message, main, files, folder, element("p", { class: "drop-over", "aria-hidden": "true" }, words("drop.over")));

const viewer = new Viewer(viewerHost, {
  words,
  keys: [["PgUp PgDn", "help.images"]],
  onFrame: (number) => loadFrame(number),
  onNoise: () => loadNoise(),
  onStrength: () => panel.changed(),
});
const panel = new DetailsPanel(details, viewer, words, {
  ask: () => api.figures(opened, viewer.state.strength, viewer.state.frame),
  onToggle: (isOpen) => buttons.details.setAttribute("aria-expanded", isOpen),
});

const queue = new Queue(async ({ file, name }) => {
  const key = `sending-${(sending += 1)}`;
  list.put({ key, name, state: "sending", percent: 0 });
  try {
    if (!file) throw new Error(words("failed.read", { name }));
    const image = await api.send(file, name, (share) => list.put({ key, name, state: "sending", percent: Math.round(share * 100) }));
    list.remove(key);
    put(image);
    if (opened === null || (!isChosen && images.get(opened)?.state === "failed")) open(image.key);
  } catch (error) {
    list.put({ key, name, state: "failed", reason: error.message || words("failed.send", { name }) });
  }
  refresh();
});
listenToDrops(document.body, (found) => queue.add(found));

function take(input) {
  queue.add(chosen(input));
  input.value = "";
}

function put(image) {
  const before = images.get(image.key);
  images.set(image.key, image);
  list.put(image);
  if (image.key === opened && before && before.state !== image.state) tellState(image);
}

function tellState(image) {
  if (image.state === "failed") {
    viewer.clear(image.reason);
    const next = firstUsable();
    if (!isChosen && next) open(next.key);
  } else if (!viewer.state.picture?.after) {
    const busy = { waiting: "busy.waiting", denoising: "busy.denoising" }[image.state];
    viewer.setNotice(busy ? words(busy) : "", Boolean(busy));
  }
}

function firstUsable(order = list.order) {
  return order.map((key) => images.get(key)).find((each) => each && each.state !== "failed");
}

function choose(key) {
  if (!images.has(key)) return;
  isChosen = true;
  tell("");
  open(key);
}

async function open(key) {
  opening?.abort();
  opening = new AbortController();
  const { signal } = opening;
  opened = key;
  list.select(key);
  panel.clear();
  viewer.clear();
  viewer.setNotice(words("busy.opening"), true);
  refresh();
  try {
    await load(key, 0, signal, {});
  } catch (error) {
    if (signal.aborted) return;
    viewer.clear(error.message);
    await poll();
  }
}

async function load(key, number, signal, options) {
  const first = await api.frame(key, "before", number, signal);
  while (images.has(key) && !images.get(key).info.rows) await poll(); // a poll may already have been under way
  if (signal.aborted || !images.has(key)) return;
  const { info } = images.get(key);
  const planeOf = (bytes) => Plane.fromBytes(bytes, info);
  if (!options.keepsView) {
    viewer.show({ info, before: planeOf(first), frame: number }, options);
    viewer.setNotice(words("busy.denoising"), true);
  }
  const second = await api.frame(key, "after", number, signal);
  if (signal.aborted) return;
  viewer.setNotice("");
  if (options.keepsView) viewer.show({ info, before: planeOf(first), after: planeOf(second), frame: number }, options);
  else viewer.add({ after: planeOf(second) });
  panel.changed();
}

async function loadFrame(number) {
  opening?.abort();
  opening = new AbortController();
  const { signal } = opening;
  try {
    await load(opened, number, signal, { keepsView: true });
  } catch (error) {
    if (!signal.aborted) tell(error.message);
  }
}

async function loadNoise() {
  const { picture, strength, frame } = viewer.state;
  if (!picture || picture.noise) return;
  const key = opened;
  const isShown = () => key === opened && frame === viewer.state.frame && viewer.state.picture?.after;
  viewer.setNotice(words("busy.figures"), true);
  try {
    const { noise } = await api.figures(key, strength, frame);
    if (noise && isShown()) {
      const plane = Plane.fromBytes(await api.noise(key), { dtype: "u1", ...noise });
      if (isShown()) viewer.add({ noise: plane, noiseScale: noise.scale });
    }
  } catch (error) {
    if (isShown()) tell(error.message);
  }
  if (isShown()) viewer.setNotice("");
}

async function remove(key) {
  try {
    if (images.has(key)) await api.remove(key);
  } catch (error) {
    if (error.status !== 404) { // else it is already gone
      tell(error.message);
      return;
    }
  }
  forget(key);
  refresh();
}

function forget(key) {
  const neighbour = firstUsable(list.order.slice(list.order.indexOf(key) + 1));
  images.delete(key);
  list.remove(key);
  if (key !== opened) return;
  opened = null;
  isChosen = false;
  opening?.abort();
  panel.clear();
  viewer.clear();
  const next = neighbour ?? firstUsable();
  if (next) open(next.key);
}

async function save() {
  const { name } = images.get(opened);
  await during(buttons.save, async () => {
    const [blob, sent] = await api.result(opened, viewer.state.strength);
    download(URL.createObjectURL(blob), sent ?? name.split("/").at(-1));
  });
}

async function keep() {
  const key = opened;
  await during(buttons.keep, async () => {
    const { name } = await api.keep(key, viewer.state.strength);
    tell(words("kept", { name }));
  });
}

function saveAll() {
  const all = [...images.values()];
  const listed = all.filter((image) => image.state === "listed").length;
  const isAll = listed > 0 && confirm(words("confirm.all", { count: all.length, listed }));
  if (listed === all.length && !isAll) return;
  const which = isAll ? "all" : "opened";
  download(`api/all.zip?strength=${viewer.state.strength}&which=${which}&lang=${words.tag}`, "denoised.zip");
}

async function report() {
  const page = openBlank();
  await during(buttons.report, async () => {
    const { address } = await api.report(viewer.state.strength);
    page.location = new URL(address, location.href);
  }, () => page.close());
}

// Open the page directly in the click handler: browsers block pages that open later as pop-ups.
function openBlank() {
  const page = window.open("", "_blank");
  page.document.title = words("busy.report");
  page.document.body.textContent = `${words("busy.report")} …`;
  return page;
}

async function during(button, work, onError = () => {}) {
  button.setAttribute("aria-busy", "true");
  refresh();
  try {
    await work();
  } catch (error) {
    onError();
    tell(error.message);
  }
  button.removeAttribute("aria-busy");
  refresh();
}

function download(address, name) {
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  if (address.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(address), 60000);
}

function tell(text) {
  message.textContent = text;
  message.hidden = text === "";
}

function refresh() {
  const all = [...images.values()];
  const count = (state) => all.filter((image) => image.state === state).length;
  const isDone = images.get(opened)?.state === "done";
  buttons.keep.hidden = !settings.keeps;
  const isUsable = { save: isDone, keep: isDone, all: all.length > 0, report: count("done") > 0, details: isDone };
  for (const [name, button] of Object.entries(buttons)) button.disabled = !isUsable[name] || button.getAttribute("aria-busy") === "true";
  welcome.hidden = list.root.children.length > 0;
  main.classList.toggle("empty", !welcome.hidden);
  const parts = [words("progress", { done: count("done"), all: all.length })];
  if (count("failed")) parts.push(words("progress.failed", { failed: count("failed") }));
  progress.textContent = all.length ? parts.join(" · ") : "";
}

let polling = null;
function poll() {
  polling ??= (async () => {
    try {
      const told = await api.changes(revision);
      revision = told.revision;
      for (const image of told.images) put(image);
      for (const key of told.removed) if (images.has(key)) forget(key);
      if (told.model.startsWith("error: ")) tell(words.said(told.model.slice(7)));
      else if (message.textContent === words("gone") || told.model === "ready") clearTold();
      if (told.model === "loading" && !message.textContent) tell(words("model.loading"));
      if (told.images.length) refresh();
    } catch (error) {
      tell(error.message);
    } finally {
      polling = null;
    }
  })();
  return polling;
}

function clearTold() {
  if ([words("gone"), words("model.loading")].includes(message.textContent)) tell("");
}

async function watch() {
  await poll();
  const isBusy = [...images.values()].some((image) => ["waiting", "denoising"].includes(image.state));
  setTimeout(watch, document.hidden ? 5000 : isBusy || message.textContent ? 300 : 1500);
}

document.body.addEventListener("keydown", (event) => {
  const step = { PageDown: 1, PageUp: -1 }[event.key];
  if (!step || event.target.closest("input, select, dialog")) return;
  const order = list.order.filter((key) => images.has(key)); // skip images that could not be sent
  const next = order[order.indexOf(opened) + step];
  if (next) choose(next);
  event.preventDefault();
});

refresh();
await watch();
if (opened === null && images.size) open(firstUsable()?.key ?? images.keys().next().value);
