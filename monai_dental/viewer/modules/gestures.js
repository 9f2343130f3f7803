// Mouse, pen and touch on the stage. One finger or the left button uses the selected tool. Two fingers zoom
// by pinching, and change the window by moving together. The wheel zooms.

const FAR = 4;
const WINDOW_STEP = 1 / 300;

export function listenToGestures(viewer) {
  const { stageElement: stage } = viewer;
  const pointers = new Map();
  let drag = null;

  const pointOf = (event) => {
    const box = stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const begin = (event) => {
    if (event.target.closest("button, input")) return;
    const point = pointOf(event);
    pointers.set(event.pointerId, point);
    stage.setPointerCapture(event.pointerId);
    if (pointers.size === 2) drag = beginPair([...pointers.values()]);
    else if (pointers.size === 1) drag = beginSingle(viewer, event, point);
  };
  const move = (event) => {
    const point = pointOf(event);
    if (!pointers.has(event.pointerId)) {
      if (event.pointerType === "mouse") hover(viewer, point);
      return;
    }
    pointers.set(event.pointerId, point);
    if (pointers.size === 2 && drag?.kind === "pair") movePair(viewer, drag, [...pointers.values()]);
    else if (pointers.size === 1 && drag && drag.kind !== "pair") moveSingle(viewer, drag, point);
    stage.classList.toggle("moving", drag?.isFar ?? false);
  };
  const end = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (event.type === "pointerup" && drag?.kind !== "pair" && drag && !drag.isFar) click(viewer, drag);
    if (drag?.kind === "measure" && drag.line && !drag.isFar) viewer.state.lengths.pop();
    if (pointers.size === 0 || drag?.kind !== "pair") drag = null;
    stage.classList.remove("moving");
    viewer.update();
  };
  stage.addEventListener("pointerdown", begin);
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);
  stage.addEventListener("pointerleave", () => { viewer.readout.textContent = ""; });
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  stage.addEventListener("wheel", (event) => {
    if (!viewer.state.view || (viewer.options.isPassive && document.activeElement !== stage && !event.ctrlKey)) return;
    event.preventDefault();
    const point = pointOf(event);
    const step = event.deltaMode === 1 ? event.deltaY * 24 : event.deltaY;
    viewer.state.view.zoomTo(viewer.state.view.scale * Math.exp(-step * 0.0018), viewer.pane(point), point);
    viewer.update();
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => {
    const { view } = viewer.state;
    if (!view || event.target.closest(".divider")) return;
    const point = pointOf(event);
    if (view.isFitted) view.zoomTo(1 / devicePixelRatio, viewer.pane(point), point);
    else view.fit(viewer.pane(point));
    viewer.update();
  });
}

function hover(viewer, point) {
  const { state } = viewer;
  if (!state.view) return;
  viewer.tell(point);
  const at = state.view.toImage(point, viewer.pane(point));
  const { columns, rows } = state.view;
  if (state.hasDetail && state.view.isFitted && at.x >= 0 && at.y >= 0 && at.x < columns && at.y < rows) {
    state.detail = at;
    viewer.update();
  }
}

function beginSingle(viewer, event, point) {
  const { state } = viewer;
  const isOther = event.button === 1 || event.button === 2;
  let kind = state.tool;
  if (event.target.closest(".divider")) kind = "divider";
  else if (isOther) kind = event.button === 1 ? "pan" : state.tool === "window" ? "pan" : "window";
  else if (event.pointerType === "touch" && state.tool === "window") kind = touchKind(state);
  return { kind, start: point, last: point, isFar: false, pane: viewer.pane(point), line: null };
}

// A finger pans an image larger than the stage; if the image fits, it moves the divider.
function touchKind(state) {
  if (state.view && !state.view.isFitted) return "pan";
  return state.compare === "divider" && state.layer === "image" ? "divider" : "none";
}

function moveSingle(viewer, drag, point) {
  const { state } = viewer;
  const [dx, dy] = [point.x - drag.last.x, point.y - drag.last.y];
  drag.isFar ||= Math.hypot(point.x - drag.start.x, point.y - drag.start.y) > FAR;
  if (!drag.isFar || !state.view) return;
  drag.last = point;
  if (drag.kind === "divider") viewer.setDivider(point.x / viewer.stageElement.clientWidth);
  if (drag.kind === "pan") state.view.pan(dx, dy, drag.pane);
  if (drag.kind === "window") viewer.changeWindow(dy * WINDOW_STEP, dx * WINDOW_STEP);
  if (drag.kind === "measure") {
    if (!drag.line) {
      drag.line = { start: state.view.toImage(drag.start, drag.pane), end: null };
      state.lengths = [...state.lengths.slice(-4), drag.line];
    }
    drag.line.end = state.view.toImage(point, drag.pane);
    viewer.tellLength(drag.line);
  }
  viewer.update();
}

function click(viewer, drag) {
  const { state } = viewer;
  if (!state.view || drag.kind === "measure") return;
  viewer.tell(drag.start);
  viewer.options.onPoint?.(state.view.toImage(drag.start, drag.pane));
  if (state.view.isFitted) state.detail = state.view.toImage(drag.start, drag.pane);
}

function beginPair([one, other]) {
  return { kind: "pair", mode: null, isFar: true, start: [one, other], last: [one, other] };
}

function movePair(viewer, drag, now) {
  const { view } = viewer.state;
  if (!view) return;
  const middle = ([one, other]) => ({ x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 });
  const reach = ([one, other]) => Math.hypot(one.x - other.x, one.y - other.y);
  const moved = Math.hypot(middle(now).x - middle(drag.start).x, middle(now).y - middle(drag.start).y);
  const spread = Math.abs(reach(now) - reach(drag.start));
  if (!drag.mode && Math.max(moved, spread) > 12) drag.mode = spread >= moved ? "pinch" : "window";
  const [from, to] = [middle(drag.last), middle(now)];
  if (drag.mode === "pinch") {
    const pane = viewer.pane(to);
    view.zoomTo(view.scale * (reach(now) / Math.max(1, reach(drag.last))), pane, to);
    view.pan(to.x - from.x, to.y - from.y, pane);
  }
  if (drag.mode === "window") viewer.changeWindow((to.y - from.y) * WINDOW_STEP, (to.x - from.x) * WINDOW_STEP);
  drag.last = now;
  viewer.update();
}
