// Keyboard control while the stage has focus; the help is made from the same table.

export const KEYS = [
  { keys: ["+", "="], shown: "+", words: "zoom.in", run: (viewer) => viewer.command("in") },
  { keys: ["-"], shown: "−", words: "zoom.out", run: (viewer) => viewer.command("out") },
  { keys: ["0"], shown: "0", words: "zoom.fit", run: (viewer) => viewer.command("fit") },
  { keys: ["1"], shown: "1", words: "zoom.one", run: (viewer) => viewer.command("one") },
  { keys: ["[", "ö"], shown: "[ Ö", words: "strength.less", run: (viewer) => viewer.setStrength(viewer.state.strength - 0.05) },
  { keys: ["]", "ä"], shown: "] Ä", words: "strength.more", run: (viewer) => viewer.setStrength(viewer.state.strength + 0.05) },
  { keys: ["d"], shown: "D", words: "compare.divider", run: (viewer) => viewer.setCompare("divider") },
  { keys: ["s"], shown: "S", words: "compare.side", run: (viewer) => viewer.setCompare("side") },
  { keys: ["b"], shown: "B", words: "compare.blink", run: (viewer) => viewer.setCompare("blink") },
  { keys: ["o"], shown: "O", words: "layer.image", run: (viewer) => viewer.setLayer("image") },
  { keys: ["e"], shown: "E", words: "layer.residual", run: (viewer) => viewer.setLayer("residual") },
  { keys: ["n"], shown: "N", words: "layer.noise", run: (viewer) => viewer.setLayer("noise") },
  { keys: ["i"], shown: "I", words: "invert", run: (viewer) => viewer.command("invert") },
  { keys: ["r"], shown: "R", words: "rotate", run: (viewer) => viewer.command("rotate") },
  { keys: ["h"], shown: "H", words: "flipX", run: (viewer) => viewer.command("flipX") },
  { keys: ["v"], shown: "V", words: "flipY", run: (viewer) => viewer.command("flipY") },
  { keys: ["l"], shown: "L", words: "detail", run: (viewer) => viewer.command("detail") },
  { keys: ["w"], shown: "W", words: "tool.window", run: (viewer) => viewer.set({ tool: "window" }) },
  { keys: ["p"], shown: "P", words: "tool.pan", run: (viewer) => viewer.set({ tool: "pan" }) },
  { keys: ["m"], shown: "M", words: "tool.measure", run: (viewer) => viewer.set({ tool: "measure" }) },
  { keys: [","], shown: ",", words: "frame.previous", run: (viewer) => viewer.setFrame(viewer.state.frame - 1) },
  { keys: ["."], shown: ".", words: "frame.next", run: (viewer) => viewer.setFrame(viewer.state.frame + 1) },
  { keys: ["Escape"], shown: "Esc", words: "reset", run: (viewer) => viewer.command("reset") },
];

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function listenToKeys(viewer) {
  viewer.stageElement.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const known = KEYS.find((each) => each.keys.includes(key));
    if (arrow) byArrow(viewer, event, arrow);
    else if (known) known.run(viewer);
    else if (key === "?") viewer.toolbar.help();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

// With Shift, arrows change the window; else they pan an image larger than the stage, or move the divider.
function byArrow(viewer, event, [x, y]) {
  const { state } = viewer;
  const isOnDivider = event.target === viewer.divider;
  if (event.shiftKey) viewer.changeWindow(y * 0.05, x * 0.05);
  else if (isOnDivider || !state.view || state.view.isFitted) viewer.setDivider(state.divider + x * 0.02);
  else {
    state.view.pan(-60 * x, -60 * y, viewer.pane());
    viewer.update();
  }
}
