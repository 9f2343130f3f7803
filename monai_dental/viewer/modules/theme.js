// Light or dark theme, chosen by a button; the browser stores the choice.

import { element, icon } from "./elements.js";

const NAME = "monai-dental-theme";

function remembered() {
  try {
    return localStorage.getItem(NAME);
  } catch {
    return null;
  }
}

export function openTheme(words, byDefault) {
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(NAME, theme);
    } catch {
      // If the browser forbids storage, the choice holds for this page only.
    }
  };
  document.documentElement.dataset.theme = remembered() ?? byDefault;
  return element("button", {
    type: "button", class: "action", id: "theme", title: words("theme"), "aria-label": words("theme"),
    onclick: () => set(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  }, icon("theme"));
}
