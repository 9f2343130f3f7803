// The viewer: one picture before and after, in an element of any size. The report, the page and MONAI Label's
// page pass pictures to it; it requests nothing itself.

import { element } from "./elements.js";
import { listenToGestures } from "./gestures.js";
import { listenToKeys } from "./keys.js";
import { lengthText } from "./overlay.js";
import { liveliestPlace, quantiles } from "./pixels.js";
import { Stage } from "./stage.js";
import { makeControls, makeToolbar } from "./toolbar.js";
import { View } from "./view.js";

const SMALLEST_RANGE = 0.4; // of the file's range from black to white; pictures that use less are stretched
const BLINK_MS = 650;
let pictures = 0;

export class Viewer {
  // Options: words; strength; onStrength(share); onFrame(number); onNoise(), before a noise map is shown;
  // onPoint(point), a clicked point of the image; isPassive: the wheel scrolls the page until the viewer has
  // focus; keys: [shown, words] of each key that acts outside the viewer, for its help.
  constructor(host, options) {
    this.options = options;
    this.words = options.words;
    this.state = {
      picture: null, view: null, words: options.words, compare: "divider", layer: "image", tool: "window",
      divider: 0.5, isBlinked: false, hasDetail: true, detail: null, strength: options.strength ?? 1,
      black: 0, white: 1, isInverted: false, residualScale: 1, lengths: [], frame: 0, row: null,
    };
    this.canvas = element("canvas");
    this.divider = element("div", {
      class: "divider", role: "slider", tabindex: "0", "aria-label": this.words("divider.label"),
      "aria-valuemin": "0", "aria-valuemax": "100", "aria-orientation": "horizontal",
    }, element("span", { class: "handle" }));
    this.tags = ["before", "after"].map((kind) => element("span", { class: `tag ${kind}` }, this.words(kind)));
    this.readout = element("output", { class: "readout", "aria-live": "off" });
    this.notice = element("p", { class: "notice", role: "status" });
    this.scale = element("p", { class: "scale" });
    this.stageElement = element("div", {
      class: "stage", tabindex: "0", role: "application", "aria-label": this.words("stage.label"),
    }, this.canvas, ...this.tags, this.divider, this.scale, this.readout, this.notice);
    this.toolbar = makeToolbar(this);
    this.controls = makeControls(this);
    this.host = host;
    host.classList.add("viewer");
    host.append(this.toolbar.root, this.stageElement, this.controls.root);
    this.stage = new Stage(this.canvas);
    this.setNotice("");
    listenToGestures(this);
    listenToKeys(this);
    new ResizeObserver(() => this.resize()).observe(this.stageElement);
    this.update();
  }

  // Shows a picture: { info, before, after, noise, frame }; planes of one frame, of which `after` may come
  // later.
  show(picture, { keepsView = false } = {}) {
    const { state } = this;
    pictures += 1;
    state.picture = { ...picture, number: pictures };
    state.frame = picture.frame ?? 0;
    if (!keepsView || !state.view) {
      state.view = new View(picture.info.columns, picture.info.rows);
      Object.assign(state, { lengths: [], detail: null, isInverted: false, presets: this.presets() });
      this.usePreset(0);
      state.view.fit(this.pane());
    }
    if (picture.after) this.takeAfter();
    if (state.layer === "noise" && !picture.noise) {
      state.layer = "image";
      if (keepsView) this.setLayer("noise"); // the picture's next frame has its own map
    }
    this.update();
  }

  // Adds parts of the picture that have arrived: `after`, `noise`.
  add(parts) {
    Object.assign(this.state.picture, parts);
    pictures += 1;
    this.state.picture.number = pictures;
    if (parts.after) this.takeAfter();
    this.update();
  }

  clear(text = "") {
    Object.assign(this.state, { picture: null, view: null });
    this.setNotice(text);
    this.update();
  }

  setNotice(text, isBusy = false) {
    this.notice.textContent = text;
    this.notice.hidden = text === "";
    this.notice.classList.toggle("busy", isBusy);
  }

  takeAfter() {
    const { state } = this;
    const { before, after, info } = state.picture;
    const [one, other] = [before.level(0).values, after.level(0).values];
    const [most] = quantiles(one, [0.998], (index) => Math.abs(one[index] - other[index]));
    state.residualScale = Math.max(most, info.isWhole ? 1 : Math.abs(info.white - info.black) * 1e-4);
    state.detail ??= liveliestPlace(before, after, state.presets[0].black, state.presets[0].white);
  }

  // The windows to choose from, the initial one first.
  presets() {
    const { info, before } = this.state.picture;
    const [low, high] = quantiles(before.level(0).values, [0.001, 0.999]);
    const isDownward = info.white < info.black;
    const whole = { name: this.words("preset.whole"), black: info.black, white: info.white };
    const margin = high > low ? 0 : Math.abs(info.white - info.black) / 2;
    const [dark, bright] = isDownward ? [high + margin, low - margin] : [low - margin, high + margin];
    const own = { name: this.words("preset.own"), black: dark, white: bright };
    const files = info.windows.map((window, index) => ({
      ...window, name: window.label || this.words("preset.file", { number: index + 1 }),
    }));
    const usesLittle = (high - low) / Math.abs(info.white - info.black) < SMALLEST_RANGE;
    return [...files, ...(usesLittle ? [own, whole] : [whole, own])];
  }

  usePreset(index) {
    const { state } = this;
    const { black, white } = state.presets[index];
    state.preset = index;
    [state.black, state.white] = state.isInverted ? [white, black] : [black, white];
    this.update();
  }

  // Changes the window's level and width by fractions of its width.
  changeWindow(level, width) {
    const { state } = this;
    if (!state.picture) return;
    const { info } = state.picture;
    const range = Math.abs(info.white - info.black);
    const least = info.isWhole ? 1 : range * 1e-4;
    const sign = Math.sign(state.white - state.black);
    const now = Math.abs(state.white - state.black);
    const wanted = Math.min(4 * range, Math.max(least, now * Math.exp(width)));
    const low = Math.min(info.black, info.white) - range;
    const center = (state.black + state.white) / 2 + level * now * sign;
    const kept = Math.min(low + 3 * range, Math.max(low, center));
    Object.assign(state, { black: kept - (sign * wanted) / 2, white: kept + (sign * wanted) / 2, preset: -1 });
    this.update();
  }

  setStrength(share) {
    this.state.strength = Math.min(1, Math.max(0, share));
    this.options.onStrength?.(this.state.strength);
    this.update();
  }

  setFrame(frame) {
    const { picture } = this.state;
    if (!picture || frame < 0 || frame >= picture.info.frames || frame === this.state.frame) return;
    this.state.frame = frame;
    this.update();
    this.options.onFrame?.(frame);
  }

  async setLayer(layer) {
    const { state } = this;
    if (layer !== "image" && !state.picture?.after) return;
    if (layer === "noise") await this.options.onNoise?.();
    if (layer === "noise" && !state.picture?.noise) return;
    state.layer = layer;
    this.refit();
  }

  setCompare(compare) {
    const { state } = this;
    clearInterval(this.blinking);
    Object.assign(state, { compare, layer: "image", isBlinked: false });
    if (compare === "blink") {
      this.blinking = setInterval(() => {
        state.isBlinked = !state.isBlinked;
        this.update();
      }, BLINK_MS);
    }
    this.refit();
  }

  setDivider(share) {
    this.state.divider = Math.min(1, Math.max(0, share));
    this.update();
  }

  set(values) {
    Object.assign(this.state, values);
    this.update();
  }

  command(name) {
    const { state } = this;
    const pane = this.pane();
    if (!state.view) return;
    const commands = {
      in: () => state.view.zoomTo(state.view.scale * 1.4, pane),
      out: () => state.view.zoomTo(state.view.scale / 1.4, pane),
      fit: () => state.view.fit(pane),
      one: () => state.view.zoomTo(1 / devicePixelRatio, pane),
      rotate: () => state.view.turn(pane),
      flipX: () => state.view.flip(false, pane),
      flipY: () => state.view.flip(true, pane),
      detail: () => { state.hasDetail = !state.hasDetail; },
      invert: () => {
        state.isInverted = !state.isInverted;
        [state.black, state.white] = [state.white, state.black];
      },
      reset: () => {
        Object.assign(state, { lengths: [], isInverted: false, layer: "image" });
        state.view = new View(state.view.columns, state.view.rows);
        this.usePreset(0);
        state.view.fit(this.pane());
      },
    };
    commands[name]();
    this.update();
  }

  pane(point = { x: 0, y: 0 }) {
    return this.stage.paneAt(this.state, point);
  }

  refit() {
    this.state.view?.settle(this.pane());
    this.update();
  }

  resize() {
    this.refit();
    this.draw();
  }

  // Column and row of the image pixel whose centre is nearest to the canvas pixel at a point of the stage;
  // the picture starts at a whole canvas pixel.
  pixelAt(point) {
    const ratio = devicePixelRatio;
    const pane = this.pane(point);
    const corner = this.state.view.toStage({ x: 0, y: 0 }, pane);
    const onCanvas = (axis) => {
      const shift = Math.round(corner[axis] * ratio) - corner[axis] * ratio;
      return (Math.floor(point[axis] * ratio) + 0.5 - shift) / ratio;
    };
    const at = this.state.view.toImage({ x: onCanvas("x"), y: onCanvas("y") }, pane);
    return [Math.floor(at.x), Math.floor(at.y)];
  }

  // Reports the pixel at a point of the stage.
  tell(point) {
    const { state } = this;
    const { picture } = state;
    if (!picture || !state.view) return;
    const [x, y] = this.pixelAt(point);
    if (x < 0 || y < 0 || x >= picture.info.columns || y >= picture.info.rows) {
      this.readout.textContent = "";
      return;
    }
    const digits = picture.info.isWhole ? 0 : 4;
    const before = picture.before.at(x, y);
    let text = `${x + 1}, ${y + 1}: ${this.words.number(before, digits)}`;
    if (picture.after) {
      const after = before + state.strength * (picture.after.at(x, y) - before);
      text += ` → ${this.words.number(picture.info.isWhole ? Math.round(after) : after, digits)}`;
    }
    this.readout.textContent = text;
  }

  tellLength(line) {
    this.readout.textContent = lengthText(line, this.state.picture.info, this.words);
  }

  update() {
    if (this.isPlanned) return;
    this.isPlanned = true;
    requestAnimationFrame(() => {
      this.isPlanned = false;
      this.draw();
    });
  }

  draw() {
    const { state } = this;
    const isDivided = state.picture !== null && state.layer === "image" && state.compare === "divider";
    const hasAfter = Boolean(state.picture?.after);
    this.stage.draw(hasAfter ? state : { ...state, compare: "blink", isBlinked: true, layer: "image" });
    this.divider.hidden = !isDivided || !hasAfter;
    this.divider.style.left = `${state.divider * 100}%`;
    this.divider.setAttribute("aria-valuenow", Math.round(state.divider * 100));
    this.drawTags(hasAfter);
    this.toolbar.draw(state);
    this.controls.draw(state);
    this.stageElement.dataset.tool = state.tool;
    this.canvas.dataset.drawn = String(Number(this.canvas.dataset.drawn ?? 0) + 1);
  }

  drawTags(hasAfter) {
    const { state } = this;
    const [before, after] = this.tags;
    const panes = this.stage.panes(state);
    const isImage = hasAfter && state.layer === "image";
    before.hidden = !isImage || (state.compare === "blink" ? !state.isBlinked : state.compare === "divider" && state.divider < 0.14);
    after.hidden = !isImage || (state.compare === "blink" ? state.isBlinked : state.compare === "divider" && state.divider > 0.86);
    const second = panes[1] ?? { x: 0, y: 0 };
    after.style.left = state.compare === "side" ? `${second.x + 10}px` : "";
    after.style.top = state.compare === "side" ? `${second.y + 10}px` : "";
    after.classList.toggle("right", state.compare === "divider");
    this.toolbar.drawScale(this.scale, state);
  }
}
