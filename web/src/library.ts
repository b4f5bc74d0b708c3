// The conversations of this person: open, rename, delete.
import { api } from "./api";
import { h, tool } from "./dom";
import { notice, problem } from "./notices";
import { rename, state } from "./store";
import type { Summary } from "./types";

function ago(time: string): string {
  const minutes = (Date.now() - Date.parse(time)) / 60_000;
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${Math.round(minutes)} min ago`;
  if (minutes < 60 * 24) return `${Math.round(minutes / 60)} h ago`;
  return new Date(time).toLocaleDateString();
}

function row(talk: Summary, away: () => void): HTMLElement {
  const title = h("span", { class: "row-title" }, talk.title);
  const state_ = talk.state === "idle" ? "" : talk.state === "running" ? " · running" : " · question open";
  const link = h("a", { class: "row-link", href: `#${talk.id}` }, h("img", { src: talk.photo.thumbnail_url, alt: "", width: 56, height: 56, loading: "lazy" }),
    h("span", {}, title, h("small", {}, `${talk.turns} ${talk.turns === 1 ? "turn" : "turns"} · ${ago(talk.updated)}${state_}${talk.parent ? " · fork" : ""}`)));
  const item = h("li", { class: "row" }, link);
  const edit = (): void => {
    const field = h("input", { class: "rename", value: talk.title, maxlength: 200, "aria-label": "Title" });
    let done = false;
    const end = (keep: boolean): void => {
      if (done) return;
      done = true;
      field.replaceWith(link);
      if (keep) void rename(talk, field.value).then(() => { title.textContent = talk.title; });
    };
    field.addEventListener("keydown", (event) => { if (event.key === "Enter") end(true); else if (event.key === "Escape") { event.stopPropagation(); event.preventDefault(); end(false); } });
    field.addEventListener("blur", () => end(true));
    link.replaceWith(field);
    field.focus();
    field.select();
  };
  const remove = (): void => {
    const ask = h("div", { class: "sure" }, h("span", {}, "Delete it with its masks?"),
      h("button", { type: "button", class: "small danger", onclick: () => void gone() }, "Delete"),
      h("button", { type: "button", class: "small", onclick: () => ask.replaceWith(buttons) }, "Keep"));
    buttons.replaceWith(ask);
    ask.querySelector("button")!.focus();
  };
  const gone = async (): Promise<void> => {
    try {
      await api.remove(talk.id);
      item.remove();
      notice("Deleted.");
      if (state.conversation?.id === talk.id) location.hash = "";
      away();
    } catch (error) { problem(error); }
  };
  const buttons = h("span", { class: "row-buttons" }, tool("pen", `Rename ${talk.title}`, edit), tool("bin", `Delete ${talk.title}`, remove));
  item.append(buttons);
  return item;
}

export function rows(items: Summary[]): HTMLElement {
  return h("ul", { class: "rows" }, ...items.map((talk) => row(talk, () => undefined)));
}

export function library(): void {
  const list = h("ul", { class: "rows" });
  const more = h("button", { type: "button", class: "small", hidden: true }, "More");
  const dialog = h("dialog", { class: "drawer", "aria-label": "Conversations" },
    h("header", {}, h("h2", {}, "Conversations"), tool("close", "Close", () => dialog.close())),
    h("p", { class: "actions" }, h("button", { type: "button", class: "main", onclick: () => { dialog.close(); location.hash = ""; } }, "New photo")), list, more);
  let cursor: string | null = null;
  const load = async (): Promise<void> => {
    try {
      const { items, next } = await api.list(cursor);
      list.append(...items.map((talk) => row(talk, () => { if (list.childElementCount === 0) list.append(h("li", { class: "note" }, "None yet.")); })));
      if (list.childElementCount === 0) list.append(h("li", { class: "note" }, "None yet."));
      cursor = next;
      more.hidden = next === null;
    } catch (error) { problem(error); }
  };
  more.addEventListener("click", () => void load());
  list.addEventListener("click", (event) => { if ((event.target as Element).closest("a")) dialog.close(); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  void load();
}
