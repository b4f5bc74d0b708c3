// The same words over many photos: each gets a conversation of its own, one after the other, and a card in the strip.
import { Refused, api, ask } from "./api";
import { announce, h, icon, percent, took } from "./dom";
import { notice } from "./notices";
import { save } from "./exports";
import { thumb } from "./thumb";
import type { Conversation, Turn } from "./types";

interface Card { file: File; element: HTMLElement; talk: Conversation | null; turn: Turn | null }

const MOST = 200;
let cards: Card[] = [];
let stop: AbortController | null = null;
const strip = h("ul", { class: "cards", "aria-label": "Results" });
const text = h("input", { class: "batch-text", placeholder: "The same words for each photo: Where is the cup?", "aria-label": "Words for each photo" });
const go = h("button", { type: "submit", class: "main" }, "Run");
const files = h("input", { type: "file", accept: "image/*", multiple: true, hidden: true, "aria-label": "Photo files" });
const folder = h("input", { type: "file", webkitdirectory: true, multiple: true, hidden: true, "aria-label": "Folder of photos" });
const count = h("p", { class: "note" });
const saveAll = h("button", { type: "button", onclick: () => void masks() }, icon("export"), "Save all masks");

function fill(card: Card, picture: Element | null, words: string, facts: string, bad = false): void {
  const link = card.talk ? h("a", { href: `#${card.talk.id}` }, "Open") : null;
  card.element.replaceChildren(picture ?? h("div", { class: "thumb blank" }), h("p", { class: bad ? "bad" : "" }, words), h("p", { class: "facts" }, h("span", {}, facts), link));
}

export function batch(list: File[]): void {
  const photos = list.filter((file) => file.type.startsWith("image/") || (file.type === "" && /\.(heic|heif|avif|jp2|tiff?)$/i.test(file.name)));
  if (photos.length < list.length) notice(`${list.length - photos.length} files are no photos; they are left out.`);
  for (const file of photos.slice(0, Math.max(0, MOST - cards.length))) {
    const card: Card = { file, element: h("li", { class: "card" }), talk: null, turn: null };
    fill(card, null, file.name, "waiting");
    cards.push(card);
    strip.append(card.element);
  }
  state();
  if (location.hash !== "#batch") location.hash = "batch";
}

function state(): void {
  const done = cards.filter((card) => card.turn !== null).length;
  count.textContent = cards.length === 0 ? "No photos yet." : `${done} of ${cards.length} photos`;
  go.textContent = stop ? "Stop" : "Run";
  saveAll.disabled = done === 0 || stop !== null;
}

async function one(card: Card, words: string, signal: AbortSignal): Promise<void> {
  try {
    fill(card, null, card.file.name, "working");
    card.talk ??= await api.start((await api.upload(card.file, card.file.name)).id);
    const turn = await ask(card.talk.id, words, { queue: (position) => { if (position) fill(card, null, card.file.name, `${position} before it`); }, text: () => undefined, region: () => undefined }, signal);
    card.turn = turn;
    const scores = turn.regions.map((region) => (region.score === null ? "" : percent(region.score))).join(" ");
    fill(card, thumb(card.talk.photo, turn.selection, turn.regions), turn.text, `${scores} ${took(turn.seconds.total)} `);
  } catch (error) {
    fill(card, null, error instanceof Refused ? `${card.file.name}: ${error.message}` : `${card.file.name}: stopped`, "", true);
    if (error instanceof Refused && error.wait) await new Promise((done) => setTimeout(done, error.wait! * 1000));
  }
}

async function run(): Promise<void> {
  if (stop) return stop.abort();
  const words = text.value.trim();
  if (words === "") return text.focus();
  if (cards.length === 0) return files.click();
  stop = new AbortController();
  for (const card of cards) {
    if (stop.signal.aborted) break;
    state();
    await one(card, words, stop.signal);
  }
  stop = null;
  state();
  announce(`${count.textContent} are done.`);
}

async function masks(): Promise<void> {
  for (const card of cards) {
    if (!card.talk || !card.turn?.selection.mask_url) continue;
    const { blob } = await api.file(card.turn.selection.mask_url);
    save(blob, `${card.file.name.replace(/\.\w+$/, "")}-mask.png`);
    await new Promise((done) => setTimeout(done, 150));
  }
}

function clear(): void {
  stop?.abort();
  cards = [];
  strip.replaceChildren();
  state();
}

export function batchPage(): HTMLElement {
  state();
  return h("main", { class: "batch" }, h("h1", {}, "Many photos, the same words"),
    h("p", { class: "lead" }, "Run again with other words to go on: each photo keeps its own conversation."),
    h("form", { class: "batch-form", onsubmit: (event: Event) => { event.preventDefault(); void run(); } }, text, go),
    h("p", { class: "actions" }, h("button", { type: "button", onclick: () => files.click() }, icon("plus"), "Add photos"), h("button", { type: "button", onclick: () => folder.click() }, icon("stack"), "Add a folder"), saveAll,
      h("button", { type: "button", onclick: clear }, "Clear"), files, folder, count), strip);
}

for (const input of [files, folder])
  input.addEventListener("change", () => { batch([...(input.files ?? [])]); input.value = ""; });
