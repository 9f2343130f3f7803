// The details of the open image: figures, a profile, histograms, and the file's metadata.

import { drawHistogram, drawProfile, makeFigures } from "../viewer/details.js";
import { element } from "../viewer/elements.js";

export class DetailsPanel {
  constructor(root, viewer, words, { ask, onToggle }) {
    Object.assign(this, { root, viewer, words, ask, onToggle });
    onToggle(false);
  }

  toggle() {
    this.root.hidden = !this.root.hidden;
    this.onToggle(!this.root.hidden);
    this.changed();
  }

  clear() {
    this.root.replaceChildren();
  }

  // Redraws shortly after the last of a series of changes.
  changed() {
    clearTimeout(this.timer);
    if (!this.root.hidden && this.viewer.state.picture?.after) this.timer = setTimeout(() => this.draw(), 250);
  }

  async draw() {
    const { words, viewer, root } = this;
    const { picture } = viewer.state;
    if (!picture) return;
    const row = Math.min(picture.info.rows - 1, Math.max(0, Math.floor(viewer.state.detail?.y ?? picture.info.rows / 2)));
    const figures = element("div", { class: "figures-place", "aria-busy": "true" }, words("busy.figures"));
    const canvas = (label) => element("canvas", { class: "curve", role: "img", "aria-label": label });
    const profile = canvas(words("profile", { row: row + 1 }));
    const histogram = canvas(words("histogram"));
    const key = () => element("span", { class: "key" }, element("i", { class: "before" }), words("before"), element("i", { class: "after" }), words("after"));
    root.replaceChildren(
      element("h2", {}, words("figures")), figures, element("p", { class: "note" }, words("figures.note")),
      element("h2", {}, words("profile", { row: row + 1 })), profile, key(),
      element("h2", {}, words("histogram")), histogram, key(),
      element("h2", {}, words("file")), ...this.fileLines(picture.info).map((line) => element("p", { class: "note" }, line)));
    drawProfile(profile, viewer.state, row);
    drawHistogram(histogram, viewer.state);
    try {
      const told = await this.ask();
      figures.replaceChildren(makeFigures(told.figures, words));
    } catch (error) {
      figures.textContent = error.message;
    }
    figures.removeAttribute("aria-busy");
  }

  fileLines(info) {
    const { words } = this;
    const lines = [words("file.size", info)];
    if (info.frames > 1) lines.push(words("file.frames", info));
    if (info.spacing) {
      const [row, column] = info.spacing.map((each) => words.number(each, 4));
      lines.push(words("file.spacing", { row, column, keyword: info.spacingKeyword }));
    } else lines.push(words("file.nospacing"));
    return [...lines, ...(info.notes ?? [])];
  }
}
