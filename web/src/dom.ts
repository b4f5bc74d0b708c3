// Elements in one call. No inline style and no markup from strings: nothing that a strict CSP stops.

type Value = string | number | boolean | null | undefined | EventListener;
export type Child = Element | string | null | false | undefined;
const SVG = "http://www.w3.org/2000/svg";

function fill<E extends Element>(element: E, props: Record<string, Value>, children: Child[]): E {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child): child is Element | string => child !== null && child !== false && child !== undefined));
  return element;
}

/** `h("button", { class: "x", onclick: f }, "words")`. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K, props: Record<string, Value | ((event: never) => void)> = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), props as Record<string, Value>, children);
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K, props: Record<string, Value> = {}, ...children: Child[]
): SVGElementTagNameMap[K] {
  return fill(document.createElementNS(SVG, tag), props, children);
}

const ICONS: Record<string, string> = {
  chip: "M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4",
  undo: "M9 7 4 12l5 5M4 12h10a6 6 0 0 1 0 12h-2",
  fork: "M7 4v16M7 12h4a6 6 0 0 0 6-6V4M4 7l3-3 3 3M14 7l3-3 3 3",
  export: "M12 3v12M7 10l5 5 5-5M4 20h16",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6 6 18",
  send: "M12 20V5M5 12l7-7 7 7",
  stop: "M7 7h10v10H7z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  hand: "M5 3l14 9-6 1.5L10.500 20z",
  point: "M12 3v5M12 16v5M3 12h5M16 12h5",
  box: "M4 7V4h3M17 4h3v3M20 17v3h-3M7 20H4v-3M4 11v2M20 11v2M11 4h2M11 20h2",
  scribble: "M3 16c3-9 6-11 7-8s-4 9-1 9 5-8 7-6-1 5 1 6 3-1 4-3",
  brush: "M20 4 10.500 13.500M9 13c-3 0-3 2-3.500 4S3 20 3 20c5 1 9 0 9-4a3 3 0 0 0-3-3z",
  eraser: "M8 20h12M4.500 15.500l9-10a2 2 0 0 1 3 0l3.500 3.500a2 2 0 0 1 0 3L13 20H8z",
  photo: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.500 9.500h.01",
  camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 10a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7z",
  stack: "M4 8h12v12H4zM8 8V4h12v12h-4",
  moon: "M20 14A8.500 8.500 0 0 1 10 4a8.500 8.500 0 1 0 10 10z",
  help: "M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18zM9.500 9.500a2.500 2.500 0 1 1 3.700 2.200c-.8.5-1.200 1-1.200 1.800M12 16.500h.01",
  pen: "M4 20l1-5L16 4l4 4L9 19z",
  bin: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  again: "M20 12a8 8 0 1 1-2.500-5.800M20 3v5h-5",
};

export function icon(name: string): SVGSVGElement {
  const view = name === "undo" ? "0 2 24 24" : "0 0 24 24";
  return svg("svg", { class: "icon", viewBox: view, "aria-hidden": "true" }, svg("path", { d: ICONS[name] ?? "" }));
}

/** A button that shows an icon; its name is for screen readers and the tooltip. */
export function tool(name: string, title: string, click: () => void, props: Record<string, Value> = {}): HTMLButtonElement {
  return h("button", { type: "button", class: "tool", title, "aria-label": title, onclick: click, ...props }, icon(name));
}

export function announce(text: string): void {
  document.getElementById("announce")!.textContent = text;
}

export const percent = (value: number): string => `${Math.round(value * 100)}%`;
export const took = (seconds: number): string => (seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`);
export const hue = (region: number): string => `r${(region - 1) % 8}`;
