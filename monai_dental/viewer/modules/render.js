// Renders grey values to a canvas; every grey is computed from the stored values.

const GREYS = Uint32Array.from({ length: 256 }, (_, grey) => (0xff000000 | (grey * 0x010101)) >>> 0);
const NOISE_STOPS = [[13, 16, 20], [30, 58, 95], [32, 134, 140], [122, 199, 121], [250, 240, 160]];
const NOISES = Uint32Array.from({ length: 256 }, (_, level) => noiseColour(level / 255));

// The level of the pixels to show at a scale (device pixels per image pixel): halved at most so often that
// none of its pixels is skipped.
export function levelFor(scale) {
  return Math.max(0, Math.floor(Math.log2(1 / scale) + 1e-9));
}

// Paints the needed region of a level into a separate canvas; returns it with its place.
export function paint(kind, picture, settings, level, region) {
  const width = region.right - region.left;
  const height = region.bottom - region.top;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const data = context.createImageData(width, height);
  const target = new Uint32Array(data.data.buffer);
  if (kind === "noise") paintNoise(target, picture.noise.level(0), region);
  else paintGreys(kind, target, picture, settings, level, region);
  context.putImageData(data, 0, 0);
  return canvas;
}

function paintGreys(kind, target, picture, { black, white, strength, residualScale }, level, region) {
  const before = picture.before.level(level);
  const after = kind === "before" || !picture.after ? null : picture.after.level(level).values;
  const { columns } = before;
  const values = before.values;
  const isRounded = picture.info.isWhole && level === 0;
  const factor = 255 / (white - black);
  let place = 0;
  for (let y = region.top; y < region.bottom; y += 1) {
    const last = y * columns + region.right;
    for (let i = y * columns + region.left; i < last; i += 1) {
      let value = values[i];
      if (after !== null) {
        value += strength * (after[i] - value);
        if (isRounded) value = Math.round(value);
        if (kind === "residual") value = 128 + ((values[i] - value) / residualScale) * 127;
      }
      const grey = kind === "residual" && after !== null ? value + 0.5 : (value - black) * factor + 0.5;
      target[place] = GREYS[grey < 0 ? 0 : grey > 255 ? 255 : grey | 0];
      place += 1;
    }
  }
}

function paintNoise(target, { values, columns }, region) {
  let place = 0;
  for (let y = region.top; y < region.bottom; y += 1) {
    for (let x = region.left; x < region.right; x += 1) {
      target[place] = NOISES[values[y * columns + x]];
      place += 1;
    }
  }
}

function noiseColour(share) {
  const at = share * (NOISE_STOPS.length - 1);
  const index = Math.min(NOISE_STOPS.length - 2, Math.floor(at));
  const [red, green, blue] = NOISE_STOPS[index].map((from, i) =>
    Math.round(from + (at - index) * (NOISE_STOPS[index + 1][i] - from)));
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}

export function noiseGradient() {
  return `linear-gradient(90deg, ${NOISE_STOPS.map((stop) => `rgb(${stop.join(" ")})`).join(", ")})`;
}
