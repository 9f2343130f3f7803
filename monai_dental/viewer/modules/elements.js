// Small helpers to create elements. Text is always set as text, so it is never parsed as markup.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const ICONS = {
  divider: "M12 3v18M3 5h9M3 19h9M3 5v14M12 5h9v14h-9M8 10l-2 2 2 2M16 10l2 2-2 2",
  side: "M3 5h8v14H3zM13 5h8v14h-8z",
  blink: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  window: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 3v18M12 7h4.5M12 11h6M12 15h5.5",
  pan: "M12 2v20M2 12h20M9 5l3-3 3 3M9 19l3 3 3-3M5 9l-3 3 3 3M19 9l3 3-3 3",
  measure: "M3 17 17 3l4 4L7 21zM7 13l2 2M10 10l3 3M13 7l2 2",
  invert: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 3v18a9 9 0 0 0 0-18M13.5 6v12M16 8v8M18.500 10v4",
  rotate: "M20 11a8 8 0 1 0-2.300 6M20 4v7h-7",
  flipX: "M12 3v18M9 7 4 17h5zM15 7l5 10h-5z",
  flipY: "M3 12h18M7 9 17 4v5zM7 15l10 5v-5z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  detail: "M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM15.500 15.500 21 21",
  help: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM9.500 9.500a2.500 2.500 0 1 1 3.500 2.300c-.7.3-1 .8-1 1.700M12 16.500v.5",
  save: "M12 4v11M7 11l5 5 5-5M4 20h16",
  keep: "M6 3h12v18l-6-4-6 4z",
  archive: "M4 4h16v5H4zM5 9v11h14V9M10 13h4",
  report: "M6 3h9l4 4v14H6zM9 12h7M9 16h7M9 8h3",
  details: "M4 20V4M4 20h16M8 16v-4M12 16V8M16 16v-6",
  add: "M12 16V5M7 9l5-5 5 5M4 16v4h16v-4",
  theme: "M20 14.500A8 8 0 0 1 9.500 4a8 8 0 1 0 10.500 10.500z",
  close: "M6 6l12 12M18 6 6 18",
  folder: "M3 6h6l2 2.500h10V19H3z",
  list: "M4 6h16M4 12h16M4 18h16",
};

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  drawing.classList.add("icon");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICONS[name]);
  drawing.append(path);
  return drawing;
}
