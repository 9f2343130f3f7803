// Stored grey values, and smaller versions of them for pictures that are shown small.

const ARRAYS = { u1: Uint8Array, u2: Uint16Array, i2: Int16Array, f4: Float32Array };

export class Plane {
  constructor(values, columns, rows) {
    if (values.length !== columns * rows) throw new Error(`${values.length} values; need ${columns * rows}`);
    this.levels = [{ values, columns, rows }];
  }

  static fromBytes(buffer, { dtype, columns, rows }) {
    return new Plane(new ARRAYS[dtype](buffer), columns, rows);
  }

  // Decodes the output of `packed` (pixels.py): deflated steps from each pixel to the next, lowest bytes
  // first.
  static async unpack(text, { dtype, columns, rows }) {
    const deflated = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    const count = columns * rows;
    const whole = new { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[bytes.length / count](count);
    for (let i = 0, value = 0; i < count; i += 1) {
      let step = 0;
      for (let at = i, shift = 0; at < bytes.length; at += count, shift += 8) step |= bytes[at] << shift;
      value = i % columns === 0 ? step : value + step;
      whole[i] = value;
    }
    return Plane.fromBytes(whole.buffer, { dtype, columns, rows });
  }

  get columns() {
    return this.levels[0].columns;
  }

  get rows() {
    return this.levels[0].rows;
  }

  at(x, y) {
    return this.levels[0].values[y * this.columns + x];
  }

  // The plane halved `number` times: each value is the mean of up to 2 × 2.
  level(number) {
    while (this.levels.length <= number) this.levels.push(halve(this.levels.at(-1)));
    return this.levels[number];
  }
}

function halve({ values, columns, rows }) {
  const width = Math.ceil(columns / 2);
  const height = Math.ceil(rows / 2);
  const half = new Float32Array(width * height);
  for (let y = 0; y < height; y += 1) {
    const top = 2 * y * columns;
    const bottom = Math.min(2 * y + 1, rows - 1) * columns;
    for (let x = 0; x < width; x += 1) {
      const left = 2 * x;
      const right = Math.min(left + 1, columns - 1);
      half[y * width + x] = (values[top + left] + values[top + right] + values[bottom + left] + values[bottom + right]) / 4;
    }
  }
  return { values: half, columns: width, rows: height };
}

// The values below which the given shares of the pixels lie, from a sample.
export function quantiles(values, shares, transform = (index) => values[index]) {
  const step = Math.max(1, Math.floor(values.length / 200000));
  const sample = new Float32Array(Math.ceil(values.length / step));
  for (let i = 0; i < sample.length; i += 1) sample[i] = transform(i * step);
  sample.sort();
  return shares.map((share) => sample[Math.min(sample.length - 1, Math.floor(share * sample.length))]);
}

// The place where the picture changes most without being black or white, which suits a detail.
export function liveliestPlace(before, after, black, white) {
  const [low, high] = [Math.min(black, white), Math.max(black, white)];
  const size = Math.max(16, Math.round(Math.min(before.columns, before.rows) / 12));
  let best = { x: before.columns / 2, y: before.rows / 2 };
  let most = -1;
  for (let top = size; top + 2 * size <= before.rows; top += size) {
    for (let left = size; left + 2 * size <= before.columns; left += size) {
      let sum = 0;
      let count = 0;
      for (let y = top; y < top + size; y += 2) {
        for (let x = left; x < left + size; x += 2) {
          const value = before.at(x, y);
          const share = (value - low) / (high - low);
          count += 1;
          if (share > 0.15 && share < 0.85) sum += Math.abs(value - after.at(x, y));
        }
      }
      if (sum / count > most) {
        most = sum / count;
        best = { x: left + size / 2, y: top + size / 2 };
      }
    }
  }
  return best;
}
