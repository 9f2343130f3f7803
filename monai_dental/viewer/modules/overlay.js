// Overlays on the picture: the detail if the picture fits the stage, and measured lengths.

export function detailPlace(state, panes) {
  const { picture, view, detail } = state;
  if (!picture?.after || !state.hasDetail || state.layer !== "image" || !detail) return null;
  if (view.scale * devicePixelRatio >= 1) return null;
  const whole = { width: Math.max(...panes.map((p) => p.x + p.width)), height: Math.max(...panes.map((p) => p.y + p.height)) };
  const side = Math.round(Math.min(210, whole.width * 0.27, whole.height * 0.36));
  const margin = 12;
  const width = 2 * side + 2;
  const at = view.toStage(detail, panes[0]);
  const y = whole.height - side - margin;
  const isHidden = at.y > y - side / 3 && at.x > whole.width - width - margin - side / 3;
  return { x: isHidden ? margin : whole.width - width - margin, y, side, width };
}

export function drawDetail(context, state, panes, stage) {
  const place = detailPlace(state, panes);
  if (!place) return;
  const { side } = place;
  const scale = 2 / devicePixelRatio;
  const view = Object.assign(Object.create(Object.getPrototypeOf(state.view)), state.view);
  Object.assign(view, { scale, x: state.detail.x, y: state.detail.y, isFitted: false });
  context.save();
  context.shadowColor = "#000c";
  context.shadowBlur = 14;
  context.fillStyle = "#000";
  context.fillRect(place.x, place.y, place.width, side);
  context.restore();
  ["before", "after"].forEach((kind, index) => {
    const pane = { x: place.x + index * (side + 2), y: place.y, width: side, height: side };
    context.save();
    stage.drawClipped(context, { ...state, view }, pane, pane, kind, new Map());
    context.restore();
  });
  const ratio = devicePixelRatio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.strokeStyle = "#ffffffd0";
  context.lineWidth = 1;
  context.strokeRect(place.x - 0.5, place.y - 0.5, place.width + 1, side + 1);
  const reach = side / 2 / scale;
  for (const pane of panes) {
    const [one, other] = [-1, 1].map((sign) =>
      state.view.toStage({ x: state.detail.x + sign * reach, y: state.detail.y + sign * reach }, pane));
    const box = [Math.min(one.x, other.x), Math.min(one.y, other.y), Math.abs(one.x - other.x), Math.abs(one.y - other.y)];
    context.strokeStyle = "#000a";
    context.lineWidth = 3;
    context.strokeRect(...box);
    context.strokeStyle = "#fff";
    context.lineWidth = 1;
    context.strokeRect(...box);
  }
  label(context, state.words("before"), place.x + 6, place.y + 16, "left");
  label(context, state.words("after"), place.x + side + 8, place.y + 16, "left");
}

export function lengthText(line, info, words) {
  const [dx, dy] = [line.end.x - line.start.x, line.end.y - line.start.y];
  if (!info.spacing) return `${words.number(Math.hypot(dx, dy), 0)} px`;
  const [row, column] = info.spacing;
  return `${words.number(Math.hypot(dx * column, dy * row), 1)} mm`;
}

export function drawLengths(context, state, pane) {
  for (const line of state.lengths) {
    const [start, end] = [line.start, line.end].map((point) => state.view.toStage(point, pane));
    for (const [colour, width] of [["#000c", 4], ["#ffd54a", 1.6]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(start.x, start.y);
      context.lineTo(end.x, end.y);
      context.stroke();
      for (const point of [start, end]) {
        context.beginPath();
        context.arc(point.x, point.y, 3, 0, 2 * Math.PI);
        context.stroke();
      }
    }
    label(context, lengthText(line, state.picture.info, state.words), end.x + 10, end.y - 8, "left", "#ffd54a");
  }
}

// The row whose profile is shown.
export function drawRow(context, { view, row }, pane) {
  if (row === null) return;
  const [start, end] = [0, view.columns].map((x) => view.toStage({ x, y: row + 0.5 }, pane));
  for (const [colour, width, dash] of [["#0009", 3, []], ["#ffffffc0", 1, [5, 4]]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(start.x, start.y);
    context.lineTo(end.x, end.y);
    context.stroke();
  }
}

function label(context, text, x, y, align, colour = "#fff") {
  context.font = "600 12px system-ui, sans-serif";
  context.textAlign = align;
  context.lineJoin = "round";
  context.lineWidth = 4;
  context.strokeStyle = "#000c";
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}
