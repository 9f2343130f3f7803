// The buttons above the stage, and the strength and frames below it.

import { element, icon } from "./elements.js";
import { KEYS } from "./keys.js";
import { noiseGradient } from "./render.js";

const GROUPS = [
  { words: "compare", kind: "compare", members: ["divider", "side", "blink"] },
  { words: "tool", kind: "tool", members: ["window", "pan", "measure"] },
  { words: "change", kind: "command", members: ["invert", "rotate", "flipX", "flipY", "detail"] },
];

function keyOf(words) {
  return KEYS.find((each) => each.words === words)?.shown;
}

function button(viewer, words, drawing, run) {
  const key = keyOf(words);
  const text = viewer.words(words);
  return element("button", {
    type: "button", class: "tool", title: key ? `${text} (${key})` : text, "aria-label": text, onclick: run,
  }, icon(drawing));
}

export function makeToolbar(viewer) {
  const { words } = viewer;
  const buttons = new Map();
  const runs = {
    compare: (name) => viewer.setCompare(name),
    tool: (name) => viewer.set({ tool: name }),
    command: (name) => viewer.command(name),
  };
  const groups = GROUPS.map(({ words: title, kind, members }) => {
    const made = members.map((name) => {
      const one = button(viewer, kind === "command" ? name : `${kind}.${name}`, name, () => runs[kind](name));
      buttons.set(`${kind}.${name}`, one);
      return one;
    });
    return element("div", { class: "group", role: "group", "aria-label": words(title) }, ...made);
  });
  const layer = element("select", { "aria-label": words("layer"), onchange: () => viewer.setLayer(layer.value) },
    ...["image", "residual", "noise"].map((name) => element("option", { value: name }, words(`layer.${name}`))));
  const preset = element("select", { "aria-label": words("preset"), onchange: () => viewer.usePreset(Number(preset.value)) });
  const percent = element("output", { class: "percent", "aria-label": words("zoom") });
  const zoom = element("div", { class: "group", role: "group", "aria-label": words("zoom") },
    button(viewer, "zoom.out", "minus", () => viewer.command("out")), percent,
    button(viewer, "zoom.in", "plus", () => viewer.command("in")),
    button(viewer, "zoom.fit", "fit", () => viewer.command("fit")),
    element("button", {
      type: "button", class: "tool text", title: `${words("zoom.one")} (1)`, "aria-label": `1:1, ${words("zoom.one")}`,
      onclick: () => viewer.command("one"),
    }, "1:1"));
  const dialog = makeHelp(viewer);
  const help = () => dialog.showModal();
  const [compare, tools, changes] = groups;
  const root = element("div", { class: "bar", role: "toolbar", "aria-label": words("toolbar") },
    compare, element("div", { class: "group" }, layer), tools, element("div", { class: "group" }, preset),
    changes, zoom, element("div", { class: "group last" }, button(viewer, "help", "help", help)), dialog);
  let shownPresets = null;
  return {
    root,
    help,
    draw(state) {
      const isEmpty = !state.picture;
      const isBare = !state.picture?.after;
      for (const [name, one] of buttons) {
        const [kind, member] = name.split(".");
        const isPressed = kind === "compare" ? state.compare === member && state.layer === "image"
          : kind === "tool" ? state.tool === member
            : member === "invert" ? state.isInverted : member === "detail" && state.hasDetail;
        if (kind !== "command" || member === "invert" || member === "detail") one.setAttribute("aria-pressed", isPressed);
        one.disabled = isEmpty || (isBare && (kind === "compare" || member === "detail"));
      }
      for (const one of zoom.querySelectorAll("button")) one.disabled = isEmpty;
      layer.disabled = isBare;
      layer.value = state.layer;
      preset.disabled = isEmpty;
      if (shownPresets !== state.presets && state.presets) {
        shownPresets = state.presets;
        preset.replaceChildren(...shownPresets.map((each, index) => element("option", { value: index }, each.name)),
          element("option", { value: -1, hidden: true }, words("preset.hand")));
      }
      preset.value = state.preset ?? "";
      percent.textContent = state.view ? `${Math.round(state.view.scale * devicePixelRatio * 100)} %` : "–";
    },
    // The legend of a residual or a noise map.
    drawScale(line, state) {
      const { picture, layer: shown } = state;
      line.hidden = shown === "image" || !picture?.after;
      if (line.hidden) return;
      const isNoise = shown === "noise";
      const digits = picture.info.isWhole ? 0 : 4;
      const range = Math.abs(picture.info.white - picture.info.black);
      const most = isNoise ? picture.noiseScale * range : state.residualScale;
      const ramp = element("i", { class: "ramp" });
      ramp.style.background = isNoise ? noiseGradient() : "linear-gradient(90deg, #000, #808080, #fff)";
      const text = words.number(most, isNoise && most < 10 ? 1 : digits);
      line.replaceChildren(isNoise ? "0" : `−${text}`, ramp, isNoise ? text : `+${text}`,
        element("span", {}, words(isNoise ? "scale.noise" : "scale.residual")));
    },
  };
}

function makeHelp(viewer) {
  const { words } = viewer;
  const dialog = element("dialog", { class: "help", "aria-label": words("help") });
  const rows = KEYS.map(({ shown, words: key }) => element("div", {}, element("kbd", {}, shown), words(key)));
  dialog.append(
    element("h2", {}, words("help")),
    element("div", { class: "keys" }, ...rows,
      element("div", {}, element("kbd", {}, "← →"), words("help.arrows")),
      element("div", {}, element("kbd", {}, "⇧ ← ↑"), words("help.shift")),
      ...(viewer.options.keys ?? []).map(([shown, key]) => element("div", {}, element("kbd", {}, shown), words(key)))),
    element("p", {}, words("help.mouse")),
    element("p", {}, words("help.touch")),
    element("form", { method: "dialog" }, element("button", { class: "primary" }, words("close"))));
  return dialog;
}

export function makeControls(viewer) {
  const { words } = viewer;
  const strength = element("input", {
    type: "range", min: "0", max: "100", step: "1", "aria-label": words("strength"), class: "strength",
    oninput: () => viewer.setStrength(Number(strength.value) / 100),
  });
  const share = element("output", { class: "share" });
  const frame = element("input", {
    type: "range", min: "0", step: "1", "aria-label": words("frame"), oninput: () => viewer.setFrame(Number(frame.value)),
  });
  const number = element("output", { class: "share" });
  const frames = element("label", { class: "control frames" }, element("span", {}, words("frame")), frame, number);
  const root = element("div", { class: "controls" },
    element("label", { class: "control" }, element("span", {}, words("strength")), strength, share), frames);
  return {
    root,
    draw(state) {
      strength.disabled = !state.picture?.after;
      strength.value = Math.round(state.strength * 100);
      strength.style.setProperty("--share", `${state.strength * 100}%`);
      share.textContent = `${Math.round(state.strength * 100)} %`;
      const count = state.picture?.info.frames ?? 1;
      frames.hidden = count < 2;
      frame.max = count - 1;
      frame.value = state.frame;
      frame.style.setProperty("--share", `${(state.frame / Math.max(1, count - 1)) * 100}%`);
      number.textContent = `${state.frame + 1} / ${count}`;
    },
  };
}
