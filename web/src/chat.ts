// The talk: what was said and answered, what runs, what was left open; the selection; the message to write.
import { explained, notice } from "./notices";
import { announce, h, hue, icon, percent, took } from "./dom";
import { formula } from "./formula";
import { light } from "./light";
import { drop, fork, look, on, regionNamed, say, shown, state, stop, take } from "./store";
import type { Piece, Region, Turn } from "./types";

const TRY: Record<string, string[]> = {
  coffee: ["Where is the cup?", "Everything but the cup.", "Where is the table?"],
  chelsea: ["Where is the cat?", "The eyes, please.", "The background."],
  astronaut: ["Where is the person?", "Select her hair.", "Select her face."],
  rocket: ["Select the sky.", "Where is the rocket?", "Everything but the sky."],
};
const ANY = ["Where is the person?", "Select the sky.", "The background."];

const log = h("ol", { class: "log", "aria-label": "Conversation", tabindex: 0 });
const selection = h("div", { class: "selection", role: "group", "aria-label": "Selection" });
const message = h("textarea", { id: "message", rows: 1, placeholder: "Say what to find, add or take away", "aria-label": "Message" });
const send = h("button", { type: "submit", class: "send", title: "Send (Enter)", "aria-label": "Send" });
const back = h("div", { class: "earlier" });

const chip = (id: number, text: string): HTMLElement =>
  h("button", { type: "button", class: `chip ${hue(id)}`, "data-region": id, "data-refer": id, title: "Refer to it" }, text);

const said = (pieces: Piece[]): (Element | string)[] =>
  pieces.map((piece) => (piece.region === null ? piece.text : chip(piece.region, piece.text)));

// One turn

function byHand(turn: Turn): HTMLElement {
  if (turn.kind === "selection") return h("p", { class: "hand" }, icon("pen"), `Selected by hand: ${turn.selection.label || "nothing"}`);
  const region = turn.regions[0];
  return h("p", { class: "hand" }, icon("pen"), region ? h("span", {}, "Changed by hand: ", chip(region.id, region.phrase)) : "Changed by hand");
}

function names(turn: Turn): Element[] {
  return turn.regions.map((region) => h("span", { class: "fact" }, h("i", { class: `swatch ${hue(region.id)}` }), `${region.phrase} ${region.score === null ? "by hand" : percent(region.score)}`));
}

/** Other names that were weighed: one click takes one. Of the last turn only. */
function doubts(turn: Turn): HTMLElement | null {
  const offers = turn.regions.flatMap((region: Region) => region.alternatives.map((other) => ({ region, other }))).slice(0, 6);
  if (offers.length === 0) return null;
  return h("div", { class: `doubt ${turn.unsure ? "unsure" : ""}` }, h("span", {}, turn.unsure ? "Not sure. Did you mean" : "Or did you mean"),
    ...offers.map(({ region, other }) => h("button", {
      type: "button", class: `offer ${hue(region.id)}`, "data-region": region.id, title: `Take ${other.phrase} instead of ${region.phrase}`,
      onclick: () => void take(region.id, other.phrase),
    }, other.phrase, h("small", {}, percent(other.chance)))));
}

function entry(turn: Turn, last: boolean): HTMLElement {
  const item = h("li", { class: "turn", "data-turn": turn.turn });
  if (turn.user) item.append(h("p", { class: "user" }, turn.user));
  const { total, wait } = turn.seconds;
  const timed = turn.kind !== "selection" && h("span", { class: "fact time", title: wait >= 0.05 ? `${took(wait)} of waiting before` : "Time of this turn" }, took(total));
  const answer = turn.kind === "refinement" || turn.kind === "selection" ? byHand(turn) : h("p", { class: "answer" }, ...said(turn.pieces));
  item.append(h("div", { class: "reply" }, answer,
    h("p", { class: "facts" }, ...(turn.kind === "refinement" ? [] : names(turn)),
      timed, turn.unsure && h("span", { class: "fact warn" }, "unsure")),
    last && turn.kind === "exchange" && doubts(turn)));
  return item;
}

// What runs, and what was left open

const words = h("p", { class: "answer" });
const clock = h("span", { class: "fact time" });
const queue = h("span", { class: "fact" });
const asked = h("p", { class: "user" });
const running = h("li", { class: "turn running" }, asked, h("div", { class: "reply" }, words, h("p", { class: "facts" }, queue, clock)));

function stream(): void {
  const { pending } = state;
  if (pending === null) return running.remove();
  asked.textContent = pending.text;
  const empty = pending.pieces.length === 0;
  words.replaceChildren(...(empty ? [h("span", { class: "dots", "aria-label": "Working" }, h("i"), h("i"), h("i"))] : said(pending.pieces)));
  const { position } = pending;
  queue.textContent = position > 0 ? `${position} ${position === 1 ? "turn" : "turns"} before yours` : empty ? "looking" : "";
  clock.textContent = took((performance.now() - pending.since) / 1000);
  if (running.parentElement !== log) log.append(running);
  log.scrollTop = log.scrollHeight;
}

function left(): HTMLElement | null {
  const talk = state.conversation!;
  if (talk.open === null || state.pending !== null) return null;
  if (talk.state === "running") return h("li", { class: "turn" }, h("p", { class: "user" }, talk.open.text), h("p", { class: "note" }, "This question runs elsewhere."));
  return h("li", { class: "turn open" }, h("p", { class: "user" }, talk.open.text),
    h("div", { class: "reply" }, state.failed ? explained(state.failed) : h("p", { class: "note" }, "No answer came to this question."),
      h("p", { class: "actions" }, h("button", { type: "button", class: "small main", onclick: () => void say(null) }, icon("again"), "Ask again"),
        h("button", { type: "button", class: "small", onclick: edit }, "Change it"), h("button", { type: "button", class: "small", onclick: () => void drop() }, "Drop"))));
}

function edit(): void {
  const text = state.conversation?.open?.text ?? "";
  void drop().then(() => write(text));
}

function welcome(): HTMLElement {
  const offers = TRY[state.conversation!.photo.sample ?? ""] ?? ANY;
  return h("li", { class: "welcome" }, h("h2", {}, "What are you looking for?"), h("p", {}, "Name it in your own words. Then add to it, take away from it, or point at it."),
    h("p", { class: "tries" }, ...offers.map((text) => h("button", { type: "button", class: "try", onclick: () => { write(text); void submit(); } }, text))));
}

function draw(): void {
  const talk = state.conversation;
  if (talk === null) return;
  const { history } = talk;
  const items: (Element | null)[] = history.map((turn, index) => entry(turn, index === history.length - 1 && state.pending === null));
  items.push(left());
  const whole = items.filter((item): item is Element => item !== null);
  if (whole.length === 0 && state.pending === null) whole.push(welcome());
  log.replaceChildren(...whole);
  stream();
  log.scrollTop = log.scrollHeight;
  light();
}

let looked: number | null = null;

function mark(): void {
  for (const item of log.children) item.classList.toggle("looked", state.at !== null && item.getAttribute("data-turn") === String(state.at));
  const { at } = state;
  back.hidden = at === null;
  if (at !== null) {
    back.replaceChildren(h("span", {}, `Turn ${at} of ${state.conversation?.history.length ?? at}`),
      h("button", { type: "button", class: "small main", onclick: () => look(null) }, "Back to now"),
      h("button", { type: "button", class: "small", onclick: () => void fork(at) }, icon("fork"), "Fork from here"));
    log.querySelector(".looked")?.scrollIntoView({ block: "nearest" });
  } else if (looked !== null) log.scrollTop = log.scrollHeight;
  looked = at;
}

// The selection

function select(): void {
  const now = shown();
  if (now === null) return;
  const { width, height } = state.conversation!.photo;
  const talked = state.conversation!.history.length > 0;
  const empty = now.selection.expression === "";
  const focused = [...selection.querySelectorAll("button")].findIndex((one) => one === document.activeElement);
  const expression = h("span", { class: "formula" }, ...formula(now.selection, state.at === null && state.pending === null, refer));
  selection.replaceChildren(h("span", { class: "title" }, "Selected"), ...(empty
    ? [h("span", { class: "none" }, state.pending ? "…" : talked ? "nothing" : "nothing yet"), expression]
    : [expression, h("span", { class: "label" }, now.selection.label),
      h("span", { class: "share", title: `${now.selection.area.toLocaleString()} pixels` }, share(now.selection.area / (width * height)))]));
  if (focused >= 0) { // who works by keys stays where they were
    const buttons = selection.querySelectorAll("button");
    buttons[Math.min(focused, buttons.length - 1)]?.focus();
  }
  light();
}

const share = (part: number): string => (part > 0 && part < 0.001 ? "< 0.1%" : `${(part * 100).toFixed(1)}%`);

// The message

const key = (): string => `miras.draft.${state.conversation?.id ?? ""}`;

function keep(): void {
  try {
    if (message.value) localStorage.setItem(key(), message.value);
    else localStorage.removeItem(key());
  } catch { /* no storage: the text stays in the field */ }
}

function grow(): void {
  message.style.height = "auto";
  message.style.height = `${Math.min(message.scrollHeight + 2, 160)}px`;
}

/** Puts text into the field, with the cursor behind it. */
export function write(text: string): void {
  message.value = text;
  message.focus();
  keep();
  grow();
}

/** Writes the name of a region where the cursor is: the next message speaks of it. */
export function refer(id: number): void {
  const region = regionNamed(id);
  if (!region || state.conversation === null) return;
  const words = /^(the|a|an|what|my|your|his|her|its|their|')\b/i.test(region.phrase) || region.phrase.startsWith("'") ? region.phrase : `the ${region.phrase}`;
  const [start, end] = [message.selectionStart, message.selectionEnd];
  const before = message.value.slice(0, start);
  const after = message.value.slice(end);
  const gap = before === "" || /\s$/.test(before) ? "" : " ";
  const tail = after === "" || /^[\s.,;!?]/.test(after) ? "" : " ";
  message.setRangeText(gap + words + tail, start, end, "end");
  message.focus({ preventScroll: true });
  keep();
  grow();
  announce(`${words}, in the message.`);
}

async function submit(): Promise<void> {
  const text = message.value;
  if (state.pending !== null || state.busy) return notice("One thing at a time: the last one is still running.");
  if (text.trim() === "") return message.focus();
  message.value = "";
  grow();
  if (await say(text)) {
    if (message.value === "") keep();
  } else {
    if (message.value === "") message.value = text;
    else message.value = `${text} ${message.value}`;
    keep();
    grow();
    message.focus();
  }
}

export function chat(): HTMLElement {
  const form = h("form", { class: "composer", onsubmit: (event: Event) => {
    event.preventDefault();
    if (state.pending) stop();
    else void submit();
  } }, message, send);
  message.addEventListener("input", () => { keep(); grow(); });
  message.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void submit();
  });
  let open = "";
  on(["conversation"], () => {
    draw();
    const id = state.conversation?.id ?? "";
    if (id === open) return;
    open = id;
    try { message.value = localStorage.getItem(key()) ?? ""; } catch { message.value = ""; }
    grow();
  });
  on(["pending"], stream);
  on(["view", "conversation"], () => { mark(); select(); });
  on(["pending", "busy"], () => {
    const runs = state.pending !== null;
    send.classList.toggle("stop", runs);
    send.replaceChildren(icon(runs ? "stop" : "send"));
    send.title = runs ? "Stop" : "Send (Enter)";
    send.setAttribute("aria-label", runs ? "Stop" : "Send");
    document.documentElement.classList.toggle("busy", state.busy);
  });
  setInterval(() => { if (state.pending) clock.textContent = took((performance.now() - state.pending.since) / 1000); }, 100);
  return h("section", { class: "chat", "aria-label": "Chat" }, log, back, selection, form);
}

