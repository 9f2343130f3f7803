// Draws the picture on its canvas: panes, divider, detail, and lengths.

import { drawDetail, drawLengths, drawRow } from "./overlay.js";
import { levelFor, paint } from "./render.js";

export class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.painted = new Map();
  }

  // The panes, in CSS pixels of the stage, each with its content.
  panes(state) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const whole = { x: 0, y: 0, width, height };
    if (state.layer !== "image") return [{ ...whole, kind: state.layer }];
    if (state.compare === "blink") return [{ ...whole, kind: state.isBlinked ? "before" : "after" }];
    if (state.compare !== "side") return [{ ...whole, kind: "divided" }];
    const isBeside = width >= height * 0.9;
    const gap = 2;
    return ["before", "after"].map((kind, index) =>
      isBeside
        ? { x: index * (width / 2 + gap / 2), y: 0, width: (width - gap) / 2, height, kind }
        : { x: 0, y: index * (height / 2 + gap / 2), width, height: (height - gap) / 2, kind });
  }

  // The pane that contains a point of the stage; all panes show windows of the same size on the image.
  paneAt(state, point) {
    const panes = this.panes(state);
    return panes.find((pane) => point.x < pane.x + pane.width && point.y < pane.y + pane.height) ?? panes.at(-1);
  }

  draw(state) {
    const { canvas } = this;
    const ratio = devicePixelRatio;
    const size = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, ...size);
    if (!state.picture) return;
    const fresh = new Map();
    for (const pane of this.panes(state)) {
      context.save();
      clip(context, pane, ratio);
      if (pane.kind === "divided") {
        const left = { ...pane, width: pane.width * state.divider };
        const right = { ...pane, x: left.width, width: pane.width - left.width };
        this.drawClipped(context, state, pane, left, "before", fresh);
        this.drawClipped(context, state, pane, right, "after", fresh);
      } else this.drawKind(context, state, pane, pane.kind, fresh);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      drawRow(context, state, pane);
      drawLengths(context, state, pane);
      context.restore();
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    drawDetail(context, state, this.panes(state), this);
    this.painted = fresh;
  }

  drawClipped(context, state, pane, part, kind, fresh) {
    context.save();
    clip(context, part, devicePixelRatio);
    this.drawKind(context, state, pane, kind, fresh);
    context.restore();
  }

  drawKind(context, state, pane, kind, fresh) {
    const ratio = devicePixelRatio;
    const { picture, view } = state;
    if (kind === "noise" && !picture.noise) return;
    const isNoise = kind === "noise";
    const level = isNoise ? 0 : levelFor(view.scale * ratio);
    const source = isNoise ? picture.noise.level(0) : picture.before.level(level);
    const share = isNoise ? source.columns / picture.info.columns : 1 / 2 ** level;
    const region = isNoise
      ? { left: 0, top: 0, right: source.columns, bottom: source.rows }
      : visible(view, pane, share, source);
    if (region.right <= region.left || region.bottom <= region.top) return;
    const shown = this.image(kind, state, level, region, fresh);
    const [a, b, c, d] = view.axes();
    const step = (view.scale * ratio) / share;
    const corner = view.toStage({ x: region.left / share, y: region.top / share }, pane);
    const isExact = step >= 2.5 || Math.abs(step - 1) < 1e-6;
    context.setTransform(a * step, b * step, c * step, d * step, Math.round(corner.x * ratio), Math.round(corner.y * ratio));
    context.imageSmoothingEnabled = isNoise || !isExact;
    context.imageSmoothingQuality = "high";
    context.drawImage(shown, 0, 0);
  }

  image(kind, state, level, region, fresh) {
    const { black, white, strength, residualScale, picture } = state;
    const of = kind === "before" ? [] : [strength];
    const key = [kind, picture.number, level, ...Object.values(region), black, white, residualScale, ...of].join();
    const canvas = fresh.get(key) ?? this.painted.get(key) ?? paint(kind, picture, state, level, region);
    fresh.set(key, canvas);
    return canvas;
  }
}

function clip(context, { x, y, width, height }, ratio) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
}

function visible(view, pane, share, { columns, rows }) {
  const corners = [view.toImage(pane, pane), view.toImage({ x: pane.x + pane.width, y: pane.y + pane.height }, pane)];
  const [x, y] = ["x", "y"].map((axis) => corners.map((corner) => corner[axis] * share).sort((one, other) => one - other));
  return {
    left: Math.max(0, Math.floor(x[0]) - 1),
    top: Math.max(0, Math.floor(y[0]) - 1),
    right: Math.min(columns, Math.ceil(x[1]) + 1),
    bottom: Math.min(rows, Math.ceil(y[1]) + 1),
  };
}
