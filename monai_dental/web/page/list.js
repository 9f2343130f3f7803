// The list of images: thumbnail, name, state. Thumbnails are requested when they scroll into view.

import { element, icon } from "../viewer/elements.js";

export class List {
  constructor(words, { onOpen, onRemove }) {
    this.words = words;
    this.onOpen = onOpen;
    this.onRemove = onRemove;
    this.rows = new Map();
    this.root = element("ul", { class: "list", "aria-label": words("images") });
    this.sight = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        this.sight.unobserve(target);
        target.src = target.dataset.src;
      }
    }, { root: null, rootMargin: "300px" });
    this.root.addEventListener("keydown", (event) => this.onKey(event));
  }

  get order() {
    return [...this.root.children].map((row) => row.dataset.key);
  }

  put(image) {
    let row = this.rows.get(image.key);
    if (!row) {
      row = this.makeRow(image);
      this.rows.set(image.key, row);
      this.root.append(row.root);
    }
    const { state, reason, info } = image;
    row.root.dataset.state = state;
    const said = [this.words(`state.${state}`, image), ...(info?.notes ?? [])];
    row.state.textContent = state === "failed" ? reason : said.join(" · ");
    // Images of a folder are not read before their thumbnail is in view.
    if ((info?.rows || state === "listed") && !row.picture.dataset.src) {
      row.picture.dataset.src = `api/images/${image.key}/thumbnail`;
      this.sight.observe(row.picture);
    }
  }

  remove(key) {
    this.rows.get(key)?.root.remove();
    this.rows.delete(key);
  }

  select(key) {
    for (const [each, row] of this.rows) {
      if (each === key) row.open.setAttribute("aria-current", "true");
      else row.open.removeAttribute("aria-current");
    }
    this.rows.get(key)?.root.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  makeRow({ key, name }) {
    const picture = element("img", { alt: "", width: 56, height: 56 });
    picture.addEventListener("error", () => picture.classList.add("broken"));
    const state = element("span", { class: "state" });
    const file = name.split("/").at(-1);
    const open = element("button", { type: "button", class: "open", title: name, onclick: () => this.onOpen(key) },
      element("span", { class: "picture" }, picture), element("span", { class: "text" }, element("span", { class: "name" }, file), state));
    const remove = element("button", {
      type: "button", class: "remove", "aria-label": this.words("remove", { name: file }), onclick: () => this.onRemove(key),
    }, icon("close"));
    const root = element("li", { "data-key": key }, open, remove);
    return { root, open, picture, state };
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const row = event.target.closest("li");
    if (!step || !row) return;
    const next = step > 0 ? row.nextElementSibling : row.previousElementSibling;
    next?.querySelector(".open").focus();
    event.preventDefault();
  }
}
