// Figures, a profile and histograms for physicists, behind one button.

import { element } from "./elements.js";

const BINS = 128;

export function makeFigures(figures, words) {
  const show = (value, digits) => (value === null || value === undefined ? "–" : words.number(value, digits));
  const head = element("tr", {}, element("td"), element("th", { scope: "col" }, words("figures.before")),
    element("th", { scope: "col" }, words("figures.after")));
  const row = (title, before, after) =>
    element("tr", {}, element("th", { scope: "row" }, title), element("td", {}, before), element("td", {}, after));
  return element("table", { class: "figures" }, element("thead", {}, head), element("tbody", {},
    row(words("figures.noise"), show(figures.sigma_before, 4), show(figures.sigma_after, 4)),
    row(words("figures.residual"), "", show(figures.residual_std, 4)),
    row(words("figures.lag1"), "", show(figures.residual_lag1, 2)),
    row(words("figures.edges"), "", show(figures.residual_edges, 2))));
}

// The intensity along a row of the image, before and after.
export function drawProfile(canvas, { picture, strength }, row) {
  const { columns } = picture.info;
  const line = (at) => Float32Array.from({ length: columns }, (_, x) => at(x));
  const before = line((x) => picture.before.at(x, row));
  const after = line((x) => before[x] + strength * ((picture.after ?? picture.before).at(x, row) - before[x]));
  let [low, high] = [Infinity, -Infinity];
  for (const values of [before, after]) {
    for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  drawCurves(canvas, [before, after], low, high > low ? high : low + 1);
}

// The histogram of intensities before and after; heights are the square root of the share of pixels.
export function drawHistogram(canvas, { picture, strength }) {
  const { black, white } = picture.info;
  const [low, high] = [Math.min(black, white), Math.max(black, white)];
  const before = picture.before.level(0).values;
  const after = (picture.after ?? picture.before).level(0).values;
  const step = Math.max(1, Math.floor(before.length / 300000));
  const counts = [new Float32Array(BINS), new Float32Array(BINS)];
  for (let i = 0; i < before.length; i += step) {
    [before[i], before[i] + strength * (after[i] - before[i])].forEach((value, which) => {
      const bin = Math.floor(((value - low) / (high - low)) * BINS);
      counts[which][Math.min(BINS - 1, Math.max(0, bin))] += 1;
    });
  }
  const curves = counts.map((each) => each.map(Math.sqrt));
  drawCurves(canvas, curves, 0, Math.max(1, ...curves.map((each) => Math.max(...each))));
}

function drawCurves(canvas, curves, low, high) {
  const ratio = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  ["--before", "--after"].forEach((name, which) => {
    const values = curves[which];
    context.strokeStyle = style.getPropertyValue(name).trim();
    context.lineWidth = which === 0 ? 1 : 1.5;
    context.lineJoin = "round";
    context.beginPath();
    values.forEach((value, i) => {
      context.lineTo(((i + 0.5) / values.length) * width, 4 + (height - 8) * (1 - (value - low) / (high - low)));
    });
    context.stroke();
  });
}
