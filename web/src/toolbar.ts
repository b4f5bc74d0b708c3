// The bars on the stage: tools with their settings, and how the photo is shown.
import { device, onDevice, toggle } from "./device/device";
import { h, icon, percent, tool as button } from "./dom";
import { whole, zoom } from "./stage";
import { type Mode, changed, on, show, state, wield } from "./store";

export const TOOLS: [name: string, icon: string, title: string, key: string, hint: string][] = [
  ["pick", "hand", "Pick", "v", "Click a region to speak of it. Drag to move the photo."],
  ["points", "point", "Points", "p", "Click what belongs to it. With Alt: what does not."],
  ["box", "box", "Box", "b", "Drag a box around it."],
  ["scribble", "scribble", "Scribble", "s", "Scribble over it, as a hint. With Alt: not this."],
  ["brush", "brush", "Brush", "d", "Paint pixels into the region."],
  ["eraser", "eraser", "Eraser", "e", "Wipe pixels out of the region."],
];
const MODES: [Mode, string][] = [["mask", "Masks"], ["compare", "Before/after"], ["cutout", "Cut-out"], ["photo", "Photo"]];

function picker(): HTMLElement {
  const buttons = TOOLS.map(([name, picture, title, key]) =>
    button(picture, `${title} (${key.toUpperCase()})`, () => wield({ tool: name }), { "data-tool": name, "aria-pressed": "false" }));
  on(["tool"], () => { for (const one of buttons) one.setAttribute("aria-pressed", String(one.dataset.tool === state.tool)); });
  return h("div", { class: "bar", role: "group", "aria-label": "Tools" }, ...buttons);
}

function settings(): HTMLElement {
  const hint = h("span", { class: "hint" });
  const yes = h("button", { type: "button", class: "toggle yes", onclick: () => wield({ sign: 1 }) }, icon("plus"), "belongs");
  const no = h("button", { type: "button", class: "toggle no", onclick: () => wield({ sign: 0 }) }, icon("minus"), "does not");
  const sign = h("span", { class: "pair", role: "group", "aria-label": "What is marked" }, yes, no);
  const pen = h("input", { type: "range", min: 2, max: 96, "aria-label": "Width of the pen", oninput: () => wield({ pen: Number(pen.value) }) });
  const width = h("label", { class: "slider" }, "Width", pen);
  const target = h("select", { "aria-label": "Region to change", onchange: () => wield({ target: target.value ? Number(target.value) : null }) });
  const bar = h("div", { class: "bar settings" }, target, sign, width, here(), hint);
  on(["tool", "conversation", "view"], () => {
    bar.hidden = state.tool === "pick";
    hint.textContent = TOOLS.find(([name]) => name === state.tool)?.[4] ?? "";
    sign.hidden = state.tool !== "points" && state.tool !== "scribble";
    width.hidden = !["scribble", "brush", "eraser"].includes(state.tool);
    pen.value = String(state.pen);
    yes.setAttribute("aria-pressed", String(state.sign === 1));
    no.setAttribute("aria-pressed", String(state.sign === 0));
    const talk = state.conversation;
    const last = talk?.selection.added.at(-1);
    const auto = last === undefined ? "a new region" : `the last: ${talk?.regions.find((region) => region.id === last)?.phrase ?? last}`;
    target.replaceChildren(h("option", { value: "" }, auto),
      ...(talk?.regions ?? []).map((region) => h("option", { value: region.id }, `${region.id} ${region.phrase}`)));
    target.value = String(state.target ?? "");
  });
  return bar;
}

/** Switches drawing on this device on and off, and says how far it is. */
function here(): HTMLElement {
  const words = h("span", {}, "on this device");
  const one = h("button", { type: "button", class: "toggle device", "aria-label": "Draw masks on this device", onclick: () => { toggle(); changed("tool"); } }, icon("chip"), words);
  const draw = (): void => {
    const { status, share } = device;
    one.dataset.status = status;
    one.setAttribute("aria-pressed", String(status !== "off"));
    one.hidden = state.tool !== "points" && state.tool !== "box";
    words.textContent = status === "loading" ? `loading ${percent(share)}` : status === "reading" ? "reading the photo" : "on this device";
    one.title = status === "off" ? "Draw masks on this device: loads the model once, some 75 MB" : status === "ready" ? "Masks are drawn on this device" : "Until it is ready the server draws the masks";
  };
  on(["tool"], draw);
  onDevice(draw);
  return one;
}

function looks(): HTMLElement {
  const modes = MODES.map(([mode, title]) =>
    h("button", { type: "button", class: "segment", "data-mode": mode, onclick: () => show({ mode }) }, title));
  const opacity = h("input", { type: "range", min: 0, max: 100, "aria-label": "Strength of the tint", oninput: () => show({ opacity: Number(opacity.value) / 100 }) });
  on(["view"], () => {
    for (const one of modes) one.setAttribute("aria-pressed", String(one.dataset.mode === state.mode));
    opacity.value = String(Math.round(state.opacity * 100));
    opacity.disabled = state.mode === "photo" || state.mode === "cutout";
  });
  return h("div", { class: "bar looks" },
    h("div", { class: "segments", role: "group", "aria-label": "How the photo is shown" }, ...modes),
    h("label", { class: "slider" }, "Tint", opacity));
}

const zooms = (): HTMLElement => h("div", { class: "bar zooms", role: "group", "aria-label": "Zoom" },
  button("minus", "Smaller (-)", () => zoom(0.8)), button("fit", "All of the photo (0)", whole), button("plus", "Larger (+)", () => zoom(1.25)));

export function toolbars(): Element[] {
  return [
    h("div", { class: "bars upper" }, settings(), looks()),
    h("div", { class: "bars lower" }, h("div", { class: "line" }, picker(), zooms())),
  ];
}
