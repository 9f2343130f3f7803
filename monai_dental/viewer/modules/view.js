// The placement of an image on the stage: its centre, scale, quarter turns, and whether it is mirrored.

const TURNS = [[1, 0, 0, 1], [0, 1, -1, 0], [-1, 0, 0, -1], [0, -1, 1, 0]];
const MOST_SCALE = 40;

export class View {
  constructor(columns, rows) {
    this.columns = columns;
    this.rows = rows;
    this.quarter = 0;
    this.isMirrored = false;
    this.isFitted = true;
    this.scale = 1;
    this.x = columns / 2;
    this.y = rows / 2;
  }

  // One step to the right and one step down in the image, as vectors on the stage at scale 1.
  axes() {
    const [a, b, c, d] = TURNS[this.quarter];
    return this.isMirrored ? [-a, b, -c, d] : [a, b, c, d];
  }

  fitScale(pane) {
    const isTurned = this.quarter % 2 === 1;
    const [width, height] = isTurned ? [this.rows, this.columns] : [this.columns, this.rows];
    return Math.min(pane.width / width, pane.height / height);
  }

  fit(pane) {
    this.isFitted = true;
    this.settle(pane);
  }

  // Updates the view after a change of the pane or its own; keeps the image within the pane.
  settle(pane) {
    if (!(pane.width > 0 && pane.height > 0)) return; // hidden, for example in print
    const fit = this.fitScale(pane);
    if (this.isFitted) this.scale = fit;
    this.scale = Math.min(Math.max(MOST_SCALE, fit), Math.max(Math.min(fit, 1), this.scale));
    const isTurned = this.quarter % 2 === 1;
    const [width, height] = isTurned ? [pane.height, pane.width] : [pane.width, pane.height];
    this.x = kept(this.x, this.columns, width / this.scale);
    this.y = kept(this.y, this.rows, height / this.scale);
  }

  zoomTo(scale, pane, at = { x: pane.x + pane.width / 2, y: pane.y + pane.height / 2 }) {
    const point = this.toImage(at, pane);
    this.scale = Math.min(MOST_SCALE, Math.max(Math.min(this.fitScale(pane), 1), scale));
    this.isFitted = Math.abs(this.scale - this.fitScale(pane)) < 1e-9;
    const now = this.toImage(at, pane);
    this.x += point.x - now.x;
    this.y += point.y - now.y;
    this.settle(pane);
  }

  pan(dx, dy, pane) {
    const [a, b, c, d] = this.axes();
    this.x -= (a * dx + b * dy) / this.scale;
    this.y -= (c * dx + d * dy) / this.scale;
    this.settle(pane);
  }

  turn(pane) {
    this.quarter = (this.quarter + (this.isMirrored ? 3 : 1)) % 4;
    this.settle(pane);
  }

  flip(isVertical, pane) {
    this.isMirrored = !this.isMirrored;
    if (isVertical) this.quarter = (this.quarter + 2) % 4;
    this.settle(pane);
  }

  toStage(point, pane) {
    const [a, b, c, d] = this.axes();
    const x = (point.x - this.x) * this.scale;
    const y = (point.y - this.y) * this.scale;
    return { x: pane.x + pane.width / 2 + a * x + c * y, y: pane.y + pane.height / 2 + b * x + d * y };
  }

  toImage(point, pane) {
    const [a, b, c, d] = this.axes();
    const x = (point.x - pane.x - pane.width / 2) / this.scale;
    const y = (point.y - pane.y - pane.height / 2) / this.scale;
    return { x: this.x + a * x + b * y, y: this.y + c * x + d * y };
  }
}

function kept(centre, size, seen) {
  if (seen >= size) return size / 2;
  return Math.min(size - seen / 2, Math.max(seen / 2, centre));
}
