"use strict";

const VIEWS = ["split", "residual", "noise"];
const MOST_ZOOM = 32;

class Viewer {
  constructor(article) {
    this.article = article;
    this.stage = article.querySelector(".stage");
    this.images = [...article.querySelectorAll(".layer img")];
    this.slider = article.querySelector(".split");
    this.rowInput = article.querySelector(".row");
    this.canvas = article.querySelector("canvas");
    this.width = Number(article.dataset.width);
    this.height = Number(article.dataset.height);
    this.black = Number(article.dataset.black);
    this.white = Number(article.dataset.white);
    this.row = Number(this.rowInput.value);
    this.rows = new Map();
    this.isFitted = true;
    this.pointers = new Map();
    article.style.setProperty("--ratio", this.width / this.height); // for the print
    this.listen();
    new ResizeObserver(() => this.resize()).observe(article.querySelector(".viewer"));
  }

  listen() {
    const { stage } = this;
    this.slider.addEventListener("input", () => this.drawSplit());
    this.rowInput.addEventListener("input", () => this.setRow(Number(this.rowInput.value)));
    for (const radio of this.article.querySelectorAll(".views input")) {
      radio.addEventListener("change", () => this.setView(radio.value));
    }
    for (const button of this.article.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.command(button.dataset.zoom));
    }
    stage.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.onPress(event));
    stage.addEventListener("pointermove", (event) => this.onMove(event));
    stage.addEventListener("pointerup", (event) => this.onRelease(event));
    stage.addEventListener("pointercancel", (event) => {
      this.pointers.delete(event.pointerId);
      this.endDrag();
    });
    stage.addEventListener("keydown", (event) => this.onKey(event));
  }

  // The stage is as wide as its column and as high as the image, but never higher than the window.
  resize() {
    const width = this.stage.clientWidth;
    const height = Math.max(200, Math.min((width * this.height) / this.width, innerHeight * 0.72));
    this.stage.style.height = `${height}px`;
    this.fitScale = Math.min(width / this.width, height / this.height);
    if (this.isFitted) this.fit();
    else this.place(this.scale, this.x, this.y);
  }

  fit() {
    this.place(this.fitScale, 0, 0);
  }

  // Puts the image's corner at (x, y) of the stage at a scale of stage pixels per image pixel.
  place(scale, x, y) {
    const { clientWidth, clientHeight } = this.stage;
    const keep = (at, room, size) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at)));
    this.scale = Math.min(MOST_ZOOM, Math.max(this.fitScale, scale));
    this.isFitted = this.scale === this.fitScale;
    this.x = keep(x, clientWidth, this.width * this.scale);
    this.y = keep(y, clientHeight, this.height * this.scale);
    for (const image of this.images) {
      image.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    }
    this.stage.classList.toggle("zoomed", !this.isFitted);
    this.stage.classList.toggle("pixels", this.scale * devicePixelRatio >= 2);
    this.article.querySelector("output").value = `${Math.round(this.scale * 100)} %`;
    this.drawSplit();
    this.drawRow();
  }

  zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const scale = Math.min(MOST_ZOOM, Math.max(this.fitScale, this.scale * factor));
    const change = scale / this.scale;
    this.place(scale, x - (x - this.x) * change, y - (y - this.y) * change);
  }

  command(name) {
    if (name === "in") this.zoom(1.5);
    if (name === "out") this.zoom(1 / 1.5);
    if (name === "fit") this.fit();
    if (name === "one") this.zoom(1 / this.scale);
    if (name === "flip") this.flip();
  }

  flip() {
    this.setView("split");
    this.slider.value = Number(this.slider.value) >= 50 ? 0 : 100;
    this.drawSplit();
  }

  setView(view) {
    this.article.dataset.view = view;
    this.article.querySelector(`.views input[value="${view}"]`).checked = true;
  }

  nextView() {
    const shown = VIEWS.filter((view) => !this.article.querySelector(`.views input[value="${view}"]`).closest("[hidden]"));
    this.setView(shown[(shown.indexOf(this.article.dataset.view) + 1) % shown.length]);
  }

  drawSplit() {
    const share = Number(this.slider.value);
    this.stage.querySelector(".layer.after").style.clipPath = `inset(0 0 0 ${share}%)`;
    this.stage.querySelector(".layer.before").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    this.stage.querySelector(".divider").style.left = `${share}%`;
    this.stage.querySelector(".tag.left").hidden = share < 12;
    this.stage.querySelector(".tag.right").hidden = share > 88;
  }

  setRow(row) {
    if (!Number.isInteger(row)) return;
    this.row = Math.min(this.height - 1, Math.max(0, row));
    this.rows.clear();
    this.drawRow();
  }

  // The shown intensities of the row, in [0, 1]; null until the picture is decoded.
  readRow(name) {
    if (this.rows.has(name)) return this.rows.get(name);
    const image = this.stage.querySelector(`.layer.${name} img`);
    if (!image.complete || !image.naturalWidth) {
      image.addEventListener("load", () => this.drawRow(), { once: true });
      return null;
    }
    const canvas = document.createElement("canvas");
    canvas.width = this.width;
    canvas.height = 1;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, this.row, this.width, 1, 0, 0, this.width, 1);
    const bytes = context.getImageData(0, 0, this.width, 1).data;
    const span = (this.white - this.black) / 255;
    const values = Float32Array.from({ length: this.width }, (_, i) => this.black + bytes[4 * i] * span);
    this.rows.set(name, values);
    return values;
  }

  drawRow() {
    const line = this.stage.querySelector(".row-line");
    line.style.top = `${this.y + (this.row + 0.5) * this.scale}px`;
    const before = this.readRow("before");
    const after = this.readRow("after");
    if (before && after) drawProfile(this.canvas, this, { before, after });
  }

  onWheel(event) {
    if (document.activeElement !== this.stage && !event.ctrlKey && !event.metaKey) {
      const hint = this.stage.querySelector(".hint");
      hint.classList.add("shown");
      clearTimeout(this.hintTimer);
      this.hintTimer = setTimeout(() => hint.classList.remove("shown"), 900);
      return;
    }
    event.preventDefault();
    const box = this.stage.getBoundingClientRect();
    const step = event.deltaMode === 1 ? event.deltaY * 24 : event.deltaY;
    this.zoom(Math.exp(-step * 0.002), event.clientX - box.left, event.clientY - box.top);
  }

  onPress(event) {
    if (event.button !== 0) return;
    this.pointers.set(event.pointerId, event);
    if (this.pointers.size === 2) {
      this.endDrag();
      this.reach = this.fingers().reach;
      return;
    }
    const isSplit = this.article.dataset.view === "split";
    const onDivider = event.target.closest(".divider") !== null;
    this.drag = { x: event.clientX, y: event.clientY, left: this.x, top: this.y, isFar: false };
    this.drag.moves = isSplit && (onDivider || this.isFitted) ? "divider" : "image";
    this.stage.setPointerCapture(event.pointerId);
  }

  // How far two fingers are apart, and the point between them.
  fingers() {
    const [one, other] = [...this.pointers.values()];
    const box = this.stage.getBoundingClientRect();
    return {
      reach: Math.max(1, Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY)),
      x: (one.clientX + other.clientX) / 2 - box.left,
      y: (one.clientY + other.clientY) / 2 - box.top,
    };
  }

  onMove(event) {
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, event);
    if (this.pointers.size === 2) {
      const { reach, x, y } = this.fingers();
      this.zoom(reach / this.reach, x, y);
      this.reach = reach;
      return;
    }
    if (!this.drag) return;
    const dx = event.clientX - this.drag.x;
    const dy = event.clientY - this.drag.y;
    this.drag.isFar = this.drag.isFar || Math.hypot(dx, dy) > 4;
    if (!this.drag.isFar) return;
    this.stage.classList.add("moving");
    if (this.drag.moves === "image") this.place(this.scale, this.drag.left + dx, this.drag.top + dy);
    else {
      const box = this.stage.getBoundingClientRect();
      this.slider.value = ((event.clientX - box.left) / box.width) * 100;
      this.drawSplit();
    }
  }

  onRelease(event) {
    this.pointers.delete(event.pointerId);
    if (this.drag && !this.drag.isFar) {
      const top = this.stage.getBoundingClientRect().top;
      this.setRow(Math.floor((event.clientY - top - this.y) / this.scale));
      this.rowInput.value = this.row;
    }
    this.endDrag();
  }

  endDrag() {
    this.drag = null;
    this.stage.classList.remove("moving");
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const commands = { "+": "in", "=": "in", "-": "out", 0: "fit", 1: "one", f: "flip" };
    const arrows = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const arrow = arrows[event.key];
    if (event.key in commands) this.command(commands[event.key]);
    else if (event.key === "v") this.nextView();
    else if (arrow && !this.isFitted) this.place(this.scale, this.x + 60 * arrow[0], this.y + 60 * arrow[1]);
    else if (arrow && arrow[0]) {
      this.slider.value = Number(this.slider.value) - 2 * arrow[0];
      this.drawSplit();
    } else return;
    event.preventDefault();
  }
}

// Draws the columns that the stage shows, each under its own column.
function drawProfile(canvas, { scale, x, width }, lines) {
  const ratio = devicePixelRatio;
  const [w, h] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(w * ratio);
  canvas.height = Math.round(h * ratio);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const first = Math.max(0, Math.floor(-x / scale));
  const last = Math.min(width, Math.ceil((w - x) / scale));
  let [low, high] = [Infinity, -Infinity];
  for (const values of Object.values(lines)) {
    for (let i = first; i < last; i += 1) {
      low = Math.min(low, values[i]);
      high = Math.max(high, values[i]);
    }
  }
  const at = (value) => 16 + (h - 32) * (high > low ? (high - value) / (high - low) : 0.5);
  context.scale(ratio, ratio);
  context.strokeStyle = colour("line");
  for (const value of [low, high]) {
    context.beginPath();
    context.moveTo(0, Math.round(at(value)) + 0.5);
    context.lineTo(w, Math.round(at(value)) + 0.5);
    context.stroke();
  }
  for (const [name, values] of Object.entries(lines)) {
    context.strokeStyle = colour(name);
    context.lineWidth = name === "before" ? 1 : 1.4;
    context.lineJoin = "round";
    context.beginPath();
    for (let i = first; i < last; i += 1) context.lineTo(x + (i + 0.5) * scale, at(values[i]));
    context.stroke();
  }
  context.font = `11px ${style.fontFamily}`;
  for (const [value, y] of [[high, at(high) - 4], [low, at(low) + 12]]) {
    const text = value.toFixed(high - low < 0.1 ? 3 : 2);
    context.fillStyle = colour("muted");
    context.fillText(text, 0, y);
  }
}

for (const article of document.querySelectorAll("article.image")) new Viewer(article);
