// The selection's expression as buttons: a region or a sign that is clicked offers what may be done with it.
import { h, hue, icon } from "./dom";
import { type Node, type Pair, type Sign, inverted, parse, parts, replace, spoken, write } from "./expression";
import { choose, regionNamed, state } from "./store";
import type { Selection } from "./types";

const SIGNS: [sign: Sign, shown: string, what: string][] = [
  ["+", "+", "with"], ["-", "−", "without"], ["&", "∩", "only where both are"],
];
const SHOWN: Record<string, string> = { "-": "−", "&": "∩", "~": "all but" };

interface Item { text: string; mark?: string; checked?: boolean; act: () => void }

const name = (id: number): string => regionNamed(id)?.phrase ?? String(id);
const menu = h("div", { class: "formula-menu", popover: "auto", role: "menu" });
let asker: HTMLElement | null = null;

menu.addEventListener("keydown", (event) => {
  const items = [...menu.querySelectorAll<HTMLElement>("button")];
  const at = items.indexOf(document.activeElement as HTMLElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
  if (event.key === "Tab") return menu.hidePopover();
  if (next === undefined) return;
  event.preventDefault();
  items[next % items.length]?.focus();
});
menu.addEventListener("toggle", (event) => { if ((event as ToggleEvent).newState === "closed") asker?.setAttribute("aria-expanded", "false"); });

/** Shows items above a button; the first, or the one that holds now, has the focus. */
function offer(button: HTMLElement, title: string, items: Item[], region: number | null): void {
  if (!menu.isConnected) document.body.append(menu);
  asker = button;
  menu.setAttribute("aria-label", title);
  if (region === null) menu.removeAttribute("data-region");
  else menu.dataset.region = String(region);
  menu.replaceChildren(h("p", { "aria-hidden": "true" }, title), ...items.map(({ text, mark, checked, act }) => h("button", {
    type: "button", class: "item", role: checked === undefined ? "menuitem" : "menuitemradio", "aria-checked": checked === undefined ? null : String(checked),
    onclick: () => { menu.hidePopover(); if (!checked) act(); },
  }, mark !== undefined && h("b", { "aria-hidden": "true" }, mark), h("span", {}, text))));
  menu.showPopover();
  button.setAttribute("aria-expanded", "true");
  const [from, own] = [button.getBoundingClientRect(), menu.getBoundingClientRect()];
  menu.style.left = `${Math.max(8, Math.min(from.left, innerWidth - own.width - 8))}px`;
  menu.style.top = `${Math.max(8, from.top - own.height - 6)}px`;
  (menu.querySelector<HTMLElement>("[aria-checked=true]") ?? menu.querySelector("button"))?.focus();
}

const set = (node: Node | null): void => void choose(write(node));

function ofRegion(root: Node, node: Node & { kind: "region" }, refer: (id: number) => void): Item[] {
  const items: Item[] = [
    { text: "Speak of it", act: () => refer(node.id) },
    { text: "Take it out", act: () => set(replace(root, node, null)) },
    { text: "All but it", act: () => set(replace(root, node, inverted(node))) },
  ];
  return root === node ? items : [...items, { text: "It alone", act: () => set(node) }];
}

const ofPair = (root: Node, node: Pair): Item[] => SIGNS.map(([sign, mark, text]) =>
  ({ text, mark, checked: node.sign === sign, act: () => set(replace(root, node, { ...node, sign })) }));

/** What concerns the whole: regions that do not stand in it, all but it, nothing. */
function ofAll(root: Node | null): Item[] {
  const there = new Set(parts(root).map(({ node }) => (node?.kind === "region" ? node.id : 0)));
  const more = (state.conversation?.regions ?? []).filter((region) => !there.has(region.id));
  const items: Item[] = more.map(({ id, phrase }) => ({
    text: `${id} ${phrase}`, mark: "+",
    act: () => set(root === null ? { kind: "region", id } : { kind: "pair", sign: "+", left: root, right: { kind: "region", id } }),
  }));
  return root === null ? items : [...items, { text: root.kind === "not" ? "Not all but this" : "All but this", act: () => set(inverted(root)) }, { text: "Nothing", act: () => set(null) }];
}

function button(kind: string, text: string, title: string, region: number | null, items: () => Item[]): HTMLElement {
  const one: HTMLElement = h("button", {
    type: "button", class: kind, "data-region": region, title, "aria-label": title, "aria-haspopup": "menu", "aria-expanded": "false",
    onclick: () => offer(one, title, items(), region),
  }, text);
  return one;
}

/** The expression of a selection; editable: what is selected now, and nothing runs. refer: speaks of a region in the message. */
export function formula(now: Selection, editable: boolean, refer: (id: number) => void): Element[] {
  let root: Node | null;
  try {
    root = parse(now.expression);
  } catch {
    return [h("span", {}, now.expression)];
  }
  const shown = parts(root).map(({ text, node }): Element => {
    const sign = SHOWN[text] ?? text;
    if (node === null || root === null) return h("span", { class: "sign", "aria-hidden": "true" }, sign);
    if (node.kind === "region") {
      const title = `${node.id}: ${name(node.id)}`;
      if (editable) return button(`number ${hue(node.id)}`, text, title, node.id, () => ofRegion(root, node, refer));
      return h("button", { type: "button", class: `number ${hue(node.id)}`, "data-region": node.id, "data-refer": node.id, title, "aria-label": `${title}. Refer to it` }, text);
    }
    if (!editable) return h("span", { class: "sign", "aria-hidden": "true" }, sign);
    if (node.kind === "not") return button("sign", sign, "All but", null, () => [{ text: "Not all but", act: () => set(replace(root, node, node.of)) }]);
    const words = SIGNS.find(([one]) => one === node.sign)![2];
    return button("sign", sign, `${spoken(write(node.left), name)}, ${words}, ${spoken(write(node.right), name)}`, null, () => ofPair(root, node));
  });
  if (root !== null) shown.unshift(h("span", { class: "hidden-text" }, spoken(now.expression, name)));
  if (editable && (root !== null || (state.conversation?.regions.length ?? 0) > 0)) {
    const more = button("sign more", "", "More of the selection", null, () => ofAll(root));
    more.append(icon("more"));
    shown.push(more);
  }
  return shown;
}
