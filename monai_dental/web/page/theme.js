// Dark by default, as radiographs are read; light by choice, which this browser remembers.

import { element, icon } from "../viewer/elements.js";

const NAME = "monai-dental-theme";

function remembered() {
  try {
    return localStorage.getItem(NAME);
  } catch {
    return null;
  }
}

export function openTheme(words) {
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(NAME, theme);
    } catch {
      // A browser may forbid it; then the choice holds for this page.
    }
  };
  document.documentElement.dataset.theme = remembered() ?? "dark";
  return element("button", {
    type: "button", class: "action", id: "theme", title: words("theme"), "aria-label": words("theme"),
    onclick: () => set(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  }, icon("theme"));
}
