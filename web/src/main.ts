// The page: who asks, which view the address names, the bar on top, keys that work everywhere.
import { api } from "./api";
import { batchPage } from "./batch";
import { chat, refer } from "./chat";
import { h, icon, tool } from "./dom";
import { exportMenu } from "./exports";
import { help } from "./help";
import { history } from "./history";
import { library } from "./library";
import { light, startLight } from "./light";
import { problem } from "./notices";
import { signIn } from "./signin";
import { stage, startStage, whole, zoom } from "./stage";
import { changed, close, fork, look, on, open, rename, show, state, turnsNow, undo, wield } from "./store";
import { fillStart, start, startDrop } from "./start";
import { TOOLS, toolbars } from "./toolbar";
import { startTools } from "./tools";
import "./style/base.css";
import "./style/start.css";
import "./style/stage.css";
import "./style/chat.css";

const app = document.getElementById("app")!;

// Light and dark

const root = document.documentElement;
function theme(next?: string): void {
  try {
    const kept = next ?? localStorage.getItem("miras.theme");
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
    if (next) localStorage.setItem("miras.theme", next);
  } catch { if (next) root.dataset.theme = next; }
}
function turn(): void {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme(dark ? "light" : "dark");
}

// The bar on top

const title = h("button", { type: "button", class: "title-button", title: "Rename", onclick: retitle });

function retitle(): void {
  const talk = state.conversation;
  if (talk === null) return;
  const field = h("input", { class: "rename", value: talk.title, maxlength: 200, "aria-label": "Title" });
  let done = false;
  const end = (keep: boolean): void => {
    if (done) return;
    done = true;
    field.replaceWith(title);
    if (keep) void rename(talk, field.value);
  };
  field.addEventListener("keydown", (event) => { if (event.key === "Enter") end(true); if (event.key === "Escape") end(false); });
  field.addEventListener("blur", () => end(true));
  title.replaceWith(field);
  field.focus();
  field.select();
}

function header(): HTMLElement {
  const talks = (): boolean => state.conversation !== null;
  const undoing = h("button", { type: "button", class: "act", onclick: () => void undo(), title: "Undo the last turn (Ctrl+Z)" }, icon("undo"), h("span", {}, "Undo"));
  const forking = h("button", { type: "button", class: "act", onclick: () => void fork(state.at), title: "Go on in a copy, from the turn that is shown" }, icon("fork"), h("span", {}, "Fork"));
  const exporting = h("button", { type: "button", class: "act main", popovertarget: "export-menu", title: "Export" }, icon("export"), h("span", {}, "Export"));
  const acts = h("div", { class: "acts" }, undoing, forking, exporting, exportMenu());
  on(["conversation", "busy", "pending"], () => {
    acts.hidden = !talks();
    title.hidden = !talks();
    title.textContent = state.conversation?.title ?? "";
    const stuck = state.busy || state.pending !== null;
    undoing.disabled = stuck || turnsNow() < 1;
    forking.disabled = stuck || !talks();
    exporting.disabled = (state.conversation?.history.length ?? 0) === 0;
    document.title = state.conversation ? `${state.conversation.title} · miras` : "miras";
  });
  return h("header", { class: "top" }, tool("menu", "Conversations", library),
    h("a", { class: "brand", href: "#", title: "A new photo" }, h("img", { src: "./favicon.svg", alt: "", width: 24, height: 24 }), "miras"),
    title, h("span", { class: "space" }), acts, tool("help", "Keys and help (?)", help), tool("moon", "Light or dark", turn));
}

const signOut = (): HTMLElement =>
  h("button", { type: "button", class: "act", onclick: () => void api.logout().then(() => location.reload()).catch(problem) }, "Sign out");

// Views

const workspace = h("main", { class: "workspace" },
  h("section", { class: "look", "aria-label": "Photo" }, h("div", { class: "frame-box" }, stage, ...toolbars()), history()), chat());

async function route(): Promise<void> {
  const name = location.hash.slice(1);
  light(null);
  if (/^[\w-]+$/.test(name) && name !== "batch") {
    if (state.conversation?.id !== name && !(await open(name))) { location.hash = ""; return; }
    if (location.hash.slice(1) !== name) return;
    view(workspace);
    changed("conversation", "view", "tool", "pending", "busy");
    whole();
    if (!matchMedia("(pointer: coarse)").matches) document.getElementById("message")?.focus();
  } else {
    close();
    wield({ tool: "pick" });
    view(name === "batch" ? batchPage() : start());
    if (name !== "batch") void fillStart();
    changed("conversation", "busy");
  }
}

function view(next: HTMLElement): void {
  const old = app.querySelector("main");
  if (old !== next) old ? old.replaceWith(next) : app.append(next);
}

// Keys

function key(event: KeyboardEvent): void {
  const typing = event.target instanceof Element && event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, dialog") !== null;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !event.shiftKey && state.conversation) {
    if (typing && (event.target as HTMLTextAreaElement).value !== "") return;
    event.preventDefault();
    return void undo();
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === "?") return help();
  if (!state.conversation) return;
  if (event.key === "Escape") return document.querySelector(":popover-open") ? undefined : wield({ tool: "pick" }); // Escape closes a menu first
  const chosen = TOOLS.find(([, , , letter]) => letter === event.key.toLowerCase());
  if (chosen) {
    wield({ tool: chosen[0] });
    stage.focus();
  } else if (event.key === "/" || event.key === "t") document.getElementById("message")?.focus();
  else if (event.key === "x") wield({ sign: state.sign ? 0 : 1 });
  else if (event.key === "[" || event.key === "]") wield({ pen: Math.min(96, Math.max(2, state.pen + (event.key === "]" ? 3 : -3))) });
  else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "0") whole();
  else if (/^[1-4]$/.test(event.key)) show({ mode: (["mask", "compare", "cutout", "photo"] as const)[Number(event.key) - 1]! });
  else if (event.key === "," && state.conversation.history.length > 0) look((state.at ?? state.conversation.history.length) - 1);
  else if (event.key === "." && state.at !== null) look(state.at + 1);
  else return;
  event.preventDefault();
}

async function main(): Promise<void> {
  theme();
  const top = header();
  app.append(top);
  if (location.hash.length < 2) view(start());
  try {
    state.session = await api.session();
    if (!state.session.signed_in) return signIn(app);
    state.limits = await api.limits();
  } catch (error) { problem(error); }
  if (state.session.auth === "token") top.append(signOut());
  startStage();
  startTools();
  startLight(refer);
  startDrop();
  addEventListener("hashchange", () => void route());
  addEventListener("keydown", key);
  document.querySelector(".skip")?.addEventListener("click", (event) => { event.preventDefault(); document.getElementById("message")?.focus(); });
  await route();
}

void main();
