// The photo on the stage: regions tinted and outlined, cut-out, comparison, zoom and pan. Hears `view`; gestures are in tools.ts.
import { h, hue, percent, svg } from "./dom";
import { light } from "./light";
import { changed, on, shown, signsOf, state } from "./store";
import type { Region } from "./types";
import { type Spot, type View, fit, pan, toPhoto, toScreen, viewBox, zoomAt } from "./view";

const photo = svg("image", { class: "photo" });
const cut = svg("image", { class: "photo", "clip-path": "url(#selected)" });
const checks = svg("rect", { fill: "url(#checks)" });
const selected = svg("path", { "clip-rule": "evenodd" });
const half = svg("rect");
const dim = svg("path", { class: "dim" });
const rest = svg("path", { class: "tint r0" });
const tints = svg("g", { "clip-path": "url(#selected)" });
const edges = svg("g");
const hits = svg("g");
const drawn = svg("g", { class: "drawn", "clip-path": "url(#half)" }, dim, tints, edges, hits);
/** Where gestures are drawn, in photo pixels. */
export const gestures = svg("g", { class: "gestures" });
const pattern = svg("pattern", { id: "checks", width: 16, height: 16, patternUnits: "userSpaceOnUse" },
  svg("rect", { width: 16, height: 16, class: "check-a" }), svg("path", { d: "M0 0h8v8H0zM8 8h8v8H8z", class: "check-b" }));
export const canvas = svg("svg", { class: "canvas", "aria-hidden": "true" },
  svg("defs", {}, svg("clipPath", { id: "selected" }, selected), svg("clipPath", { id: "half" }, half), pattern),
  checks, photo, cut, drawn, gestures);
const tags = h("div", { class: "tags" });
const split = h("input", { type: "range", class: "split", min: 0, max: 1000, "aria-label": "Before and after: where the masks begin" });
const line = h("div", { class: "split-line", "aria-hidden": "true" });
export const stage = h("div", { class: "stage", tabindex: 0, role: "application" }, canvas, tags, line, split);

let view: View = { scale: 1, x: 0, y: 0 };
let showing = "";
let fitted = true;

export const room = (): { width: number; height: number } => ({ width: stage.clientWidth, height: stage.clientHeight });
const size = (): { width: number; height: number } => state.conversation?.photo ?? { width: 1, height: 1 };

/** The point of the photo under a pointer, in photo pixels; it may lie outside of the photo. */
export function spotOf(event: { clientX: number; clientY: number }): Spot {
  const frame = stage.getBoundingClientRect();
  return toPhoto(view, { x: event.clientX - frame.left, y: event.clientY - frame.top });
}

export const scale = (): number => view.scale;
export const onScreen = (spot: Spot): Spot => toScreen(view, spot);

export function move(next: View): void {
  view = next;
  fitted = false;
  place();
}

export function zoom(factor: number, spot?: Spot): void {
  const { width, height } = room();
  move(zoomAt(view, factor, spot ?? { x: width / 2, y: height / 2 }, size(), room()));
}

export const shift = (dx: number, dy: number): void => move(pan(view, dx, dy, size(), room()));
export const current = (): View => view;

/** What a bar on the stage takes of it, so that the photo does not lie under one. */
function heightOf(bar: string): number {
  const one = stage.parentElement?.querySelector<HTMLElement>(bar);
  if (room().height < 380) return 8; // a phone on its side: the photo may lie under the bars
  return one && getComputedStyle(one.closest(".bars")!).position === "absolute" ? one.offsetHeight + 22 : 16;
}

export function whole(): void {
  view = fit(size(), room(), { side: 16, top: heightOf(".bars.upper"), bottom: heightOf(".bars.lower .line") });
  fitted = true;
  place();
}

function place(): void {
  const { width, height } = room();
  if (width === 0 || height === 0) return;
  canvas.setAttribute("viewBox", viewBox(view, { width, height }));
  const check = 16 / view.scale;
  pattern.setAttribute("patternTransform", `scale(${(check / 16).toFixed(4)})`);
  stage.classList.toggle("pixels", view.scale > 4);
  const data = state.conversation?.photo;
  const wanted = data && (view.scale * devicePixelRatio > 1600 / Math.max(data.width, data.height, 1600) ? data.image_url : data.preview_url);
  if (wanted && showing !== wanted) {
    showing = wanted;
    for (const one of [photo, cut]) one.setAttribute("href", wanted);
  }
  label();
  halve();
}

function halve(): void {
  const { width, height } = size();
  const on = state.mode === "compare";
  const x = on ? state.split * width : 0;
  for (const [name, value] of Object.entries({ x, y: 0, width: width - x, height })) half.setAttribute(name, String(value));
  split.hidden = line.hidden = !on;
  if (!on) return;
  split.value = String(Math.round(state.split * 1000));
  const [left, right] = [toScreen(view, { x: 0, y: 0 }), toScreen(view, { x: width, y: height })];
  line.style.transform = `translateX(${left.x + (right.x - left.x) * state.split}px)`;
  Object.assign(split.style, { left: `${left.x}px`, width: `${right.x - left.x}px` });
}

/** Names on the photo: one for each region of the selection, those that would lie on one another moved down. */
function label(): void {
  const highest = Math.max(4, heightOf(".bars.upper") - 6);
  const taken: { left: number; right: number; top: number }[] = [];
  for (const tag of tags.children as Iterable<HTMLElement>) {
    const spot = toScreen(view, { x: Number(tag.dataset.x), y: Number(tag.dataset.y) });
    const { width, height } = room();
    const [wide, high] = [tag.offsetWidth, tag.offsetHeight];
    const left = Math.round(Math.min(Math.max(4, spot.x), Math.max(4, width - wide - 4)));
    let top = Math.round(Math.min(Math.max(highest, spot.y - high - 4), height - high - 4));
    for (let tries = 0; tries < 8; tries++) {
      const other = taken.find((one) => left < one.right && left + wide > one.left && Math.abs(one.top - top) < high + 2);
      if (!other) break;
      top = other.top + high + 3;
    }
    taken.push({ left, right: left + wide, top });
    tag.style.transform = `translate(${left}px, ${top}px)`;
  }
}

function draw(): void {
  const now = shown();
  if (now === null) return;
  const { width, height } = size();
  for (const one of [photo, cut, checks]) for (const [name, value] of Object.entries({ x: 0, y: 0, width, height })) one.setAttribute(name, String(value));
  const { selection, named } = now;
  const signs = state.pending ? new Map(selection.added.map((id) => [id, true])) : signsOf(selection);
  selected.setAttribute("d", selection.outline || "M0 0");
  stage.dataset.mode = state.mode;
  cut.toggleAttribute("hidden", state.mode !== "cutout");
  checks.toggleAttribute("hidden", state.mode !== "cutout");
  photo.toggleAttribute("hidden", state.mode === "cutout");
  drawn.toggleAttribute("hidden", state.mode === "photo" || state.mode === "cutout");
  dim.setAttribute("d", selection.outline ? `M0 0H${width}V${height}H0Z${selection.outline}` : "");
  const opacity = String(state.opacity);
  const alive = now.regions.filter((region) => region.outline !== "");
  const inside = alive.filter((region) => signs.get(region.id) === true);
  rest.setAttribute("d", selection.outline);
  rest.setAttribute("fill-opacity", String(state.opacity * 0.7));
  const turned = selection.expression.includes("~");
  tints.replaceChildren(...(turned ? [rest] : []), ...inside.map((region) => svg("path", {
    class: `tint ${hue(region.id)}`, d: region.outline, "fill-opacity": opacity, "data-region": region.id,
  })));
  const kind = (region: Region): string => {
    if (signs.get(region.id) === true) return "in";
    return signs.has(region.id) || named.has(region.id) ? "out" : "old";
  };
  const order = [...alive].sort((a, b) => b.area - a.area);
  edges.replaceChildren(...order.flatMap((region) => [
    svg("path", { class: `casing ${kind(region)}`, d: region.outline, "data-region": region.id }),
    svg("path", { class: `edge ${kind(region)} ${hue(region.id)}`, d: region.outline, "data-region": region.id }),
  ]));
  hits.replaceChildren(...order.map((region) => svg("path", { class: "hit", d: region.outline, "data-region": region.id, "data-refer": region.id })));
  tag(order.filter((region) => kind(region) !== "old"), signs);
  const words = selection.label ? `Selected: ${selection.label}.` : "Nothing is selected.";
  stage.setAttribute("aria-label", `Photo ${state.conversation?.photo.name ?? ""}. ${words} Arrow keys move, plus and minus zoom, 0 shows all of it.`);
}

function tag(regions: Region[], signs: Map<number, boolean>): void {
  const hidden = state.mode === "photo" || state.mode === "cutout";
  tags.replaceChildren(...(hidden ? [] : regions).map((region) => {
    const out = signs.get(region.id) === false;
    const score = region.score === null ? "by hand" : percent(region.score);
    const box = region.box ?? [0, 0, 0, 0];
    return h("button", {
      type: "button", class: `tag ${hue(region.id)} ${signs.get(region.id) ? "in" : "out"}`, "data-region": region.id, "data-refer": region.id,
      "data-x": box[0], "data-y": box[1], "aria-label": `Region ${region.id}: ${out ? "without " : ""}${region.phrase}, ${score}. Refer to it`,
    }, h("b", {}, String(region.id)), ` ${out ? "without " : ""}${region.phrase} `, h("span", { class: "score" }, score));
  }));
}

export function startStage(): void {
  let last = "";
  on(["view", "conversation"], () => {
    const id = state.conversation?.photo.id ?? "";
    if (id !== last) {
      last = id;
      showing = "";
      if (id) whole();
    }
    draw();
    place();
    light();
  });
  split.addEventListener("input", () => { state.split = Number(split.value) / 1000; changed("view"); });
  new ResizeObserver(() => (fitted ? whole() : place())).observe(stage);
}
