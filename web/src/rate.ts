// Rating: one item at a time, questions answered by keys or clicks, each answer on the server's disk before it counts as given.
import { api } from "./api";
import { announce, h } from "./dom";
import { clearProblems, problem } from "./notices";
import { signIn } from "./signin";
import type { Question, Sheet, SheetItem, SheetSummary, SheetTurn } from "./types";
import "./style/base.css";
import "./style/start.css";
import "./style/rate.css";

const app = document.getElementById("app")!;
const KEYS: Record<string, string> = { left: "\u2190", equal: "\u2193", right: "\u2192", yes: "y", no: "n" };
const ARROWS: Record<string, string> = { ArrowLeft: "left", ArrowDown: "equal", ArrowRight: "right", y: "yes", n: "no" };

let sheet: Sheet;
let now = 0;

// Saving: one request at a time and in order, so that the last answer is the one that stays

const unsaved = new Map<string, { answers: Record<string, string | null>; comment?: string }>();
let saving = false;
const saved = h("output", { class: "saved", "aria-live": "polite" }, "All answers are saved.");

function later(item: string, part: { answers?: Record<string, string | null>; comment?: string }): void {
  const known = unsaved.get(item) ?? { answers: {} };
  unsaved.set(item, { ...known, ...part, answers: { ...known.answers, ...part.answers } });
  void flush();
}

async function flush(): Promise<void> {
  if (saving) return;
  saving = true;
  try {
    for (let next = unsaved.entries().next(); !next.done; next = unsaved.entries().next()) {
      const [item, body] = next.value;
      saved.textContent = "Saving";
      unsaved.delete(item);
      try {
        await api.rate(sheet.name, item, body);
        clearProblems();
      } catch (error) {
        const newer = unsaved.get(item);
        unsaved.set(item, { ...body, ...newer, answers: { ...body.answers, ...newer?.answers } });
        throw error;
      }
    }
    saved.textContent = "All answers are saved.";
  } catch (error) {
    problem(error);
    const again = h("button", { type: "button", class: "small main", onclick: () => void flush() }, "Save again");
    saved.replaceChildren("Not saved. ", again);
  } finally {
    saving = false;
  }
}

addEventListener("beforeunload", (event) => { if (unsaved.size > 0 || saving) event.preventDefault(); });

// One item

const open = (item: SheetItem): Question[] => sheet.questions.filter((question) => !item.answers[question.name]);
const picture = (address: string, words: string): HTMLElement => h("img", { src: address, alt: words });

function turn(one: SheetTurn, number: number): HTMLElement {
  return h("section", { class: "said" }, h("p", { class: "user" }, h("span", {}, `${number}. Person `), one.user), one.meant && h("p", { class: "meant" }, `meant: ${one.meant}`),
    h("div", { class: "answers" }, ...one.answers.map((answer) => h("div", { class: "one" },
      answer.side && h("h3", {}, answer.side), h("p", { class: "words" }, answer.text || h("em", {}, "(no answer)")),
      answer.picture ? picture(answer.picture, `The photo with what is selected after reply ${number} ${answer.side}`.trim()) : answer.note && h("p", { class: "note" }, answer.note)))));
}

function asked(question: Question, item: SheetItem): HTMLElement {
  const choices = question.answers.map(({ value, words }) => {
    const input = h("input", { type: "radio", name: question.name, value, onchange: () => give(question, value) });
    input.checked = item.answers[question.name] === value;
    return h("label", {}, input, h("b", {}, value), words && h("span", {}, words), KEYS[value] && h("kbd", { "aria-hidden": "true" }, KEYS[value]));
  });
  return h("fieldset", { class: question.kind, "data-question": question.name },
    h("legend", {}, h("b", {}, question.name), ` ${question.text}`), ...choices, question.note && h("p", { class: "note" }, question.note));
}

function comment(item: SheetItem): HTMLElement {
  const field = h("textarea", { rows: 2, maxlength: 2000, "aria-label": "Comment", placeholder: "Comment, where something is wrong" });
  field.value = item.comment;
  field.addEventListener("change", () => { item.comment = field.value; later(item.id, { comment: field.value }); });
  return field;
}

const bar = h("progress", { "aria-label": "Items finished" });
const count = h("span", { class: "count" });
const back = h("button", { type: "button", title: "Back (Page Up)", onclick: () => step(-1) }, "Back");
const next = h("button", { type: "button", title: "Next (Page Down)", onclick: () => step(1) }, "Next");
const nextOpen = h("button", { type: "button", class: "main", title: "Next open item (o)", onclick: toOpen }, "Next open");
const view = h("main", { class: "rate" });

function tally(): void {
  const done = sheet.items.filter((item) => open(item).length === 0).length;
  bar.max = sheet.items.length;
  bar.value = done;
  count.textContent = `${done} of ${sheet.items.length} finished`;
  back.disabled = now === 0;
  next.disabled = now === sheet.items.length - 1;
  nextOpen.disabled = done === sheet.items.length;
  const item = sheet.items[now]!;
  for (const field of view.querySelectorAll<HTMLElement>("fieldset")) field.classList.toggle("answered", field.dataset.question! in item.answers);
}

function show(index: number): void {
  now = index;
  const item = sheet.items[now]!;
  const title = h("h2", { tabindex: -1 }, `Item ${now + 1} of ${sheet.items.length}`);
  const { target } = item;
  view.replaceChildren(title, h("div", { class: "talk" }, h("figure", {}, picture(item.photo, "The photo"), h("figcaption", {}, "the photo")),
    ...item.turns.map((one, number) => turn(one, number + 1)),
    target && h("figure", { class: "target" }, h("figcaption", {}, h("b", {}, "target: "), target.text), picture(target.picture, "The photo with what is selected at the end"))),
  h("form", { class: "questions", onsubmit: (event: Event) => event.preventDefault() }, ...sheet.questions.map((question) => asked(question, item)), sheet.comments && comment(item)));
  location.hash = `${encodeURIComponent(sheet.name)}/${now + 1}`;
  scrollTo(0, 0);
  view.scrollTop = 0;
  title.focus({ preventScroll: true });
  tally();
}

function step(by: number): void {
  if (sheet.items[now + by]) show(now + by);
}

function toOpen(): void {
  const order = sheet.items.map((_, number) => (now + 1 + number) % sheet.items.length);
  const found = order.find((number) => open(sheet.items[number]!).length > 0);
  if (found !== undefined) show(found);
}

function give(question: Question, value: string): void {
  const item = sheet.items[now]!;
  item.answers[question.name] = value;
  later(item.id, { answers: { [question.name]: value } });
  tally();
  const place = sheet.questions.indexOf(question);
  const after = [...sheet.questions.slice(place + 1), ...sheet.questions].find((one) => !item.answers[one.name]);
  if (after) field(after)?.querySelector("input")?.focus();
  else nextOpen.focus();
  if (after) field(after)?.scrollIntoView({ block: "nearest" });
  else announce("All questions of this item are answered.");
}

const field = (question: Question): HTMLElement | null => view.querySelector(`fieldset[data-question="${CSS.escape(question.name)}"]`);

function current(): Question | undefined {
  const name = document.activeElement?.closest<HTMLElement>("fieldset")?.dataset.question;
  return sheet.questions.find((question) => question.name === name) ?? open(sheet.items[now]!)[0];
}

function key(event: KeyboardEvent): void {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target instanceof HTMLTextAreaElement) return;
  const question = current();
  const value = ARROWS[event.key] ?? event.key;
  if (event.key === "PageDown") step(1);
  else if (event.key === "PageUp") step(-1);
  else if (event.key === "o") toOpen();
  else if (question?.answers.some((answer) => answer.value === value)) {
    const input = field(question)?.querySelector<HTMLInputElement>(`input[value="${CSS.escape(value)}"]`);
    if (input) input.checked = true;
    give(question, value);
  } else return;
  event.preventDefault();
}

// The sheet

function keysOf(questions: Question[]): HTMLElement {
  const values = [...new Set(questions.flatMap((question) => question.answers.map((answer) => answer.value)))].sort();
  return h("p", {}, "Keys: ", ...values.flatMap((value) => [h("kbd", {}, KEYS[value] ?? value), KEYS[value] ? ` ${value} ` : " "]),
    "answer the question that is marked, the next open one follows; ", h("kbd", {}, "PgDn"), " ", h("kbd", {}, "PgUp"), " go on and back, ", h("kbd", {}, "o"), " to the next open item.");
}

async function begin(name: string, at: number): Promise<void> {
  sheet = await api.sheet(name);
  document.title = `${sheet.title}, rater ${sheet.rater}`;
  const intro = h("details", { class: "intro", open: true }, h("summary", {}, "What to do"), ...sheet.intro.map((words) => h("p", {}, words)), keysOf(sheet.questions),
    h("p", {}, "Each answer is saved at once, in the sheet of whoever runs this. You can stop at any time and go on later."));
  app.replaceChildren(h("header", { class: "top" }, h("h1", {}, `Rater ${sheet.rater}`), bar, count, saved, h("span", { class: "space" }), h("nav", { class: "acts", "aria-label": "Items" }, back, next, nextOpen)),
    h("div", { class: "scroll" }, intro, view));
  addEventListener("keydown", key);
  const first = sheet.items.findIndex((item) => open(item).length > 0);
  show(at >= 0 && at < sheet.items.length ? at : Math.max(0, first));
}

function choose(sheets: SheetSummary[]): void {
  app.replaceChildren(h("main", { class: "start" }, h("h1", {}, "Which sheet is yours?"), h("ul", { class: "sheets" }, ...sheets.map((one) =>
    h("li", {}, h("button", { type: "button", onclick: () => void begin(one.name, -1).catch(problem) }, `Rater ${one.rater}`, h("small", {}, `${one.title}, ${one.done} of ${one.items} finished`)))))));
}

async function main(): Promise<void> {
  try {
    if (!(await api.session()).signed_in) return signIn(app);
    const sheets = await api.sheets();
    const [name, place] = location.hash.slice(1).split("/");
    const known = sheets.find((one) => one.name === decodeURIComponent(name ?? ""));
    if (known) await begin(known.name, Number(place) - 1);
    else if (sheets.length === 1) await begin(sheets[0]!.name, -1);
    else choose(sheets);
  } catch (error) { problem(error); }
}

void main();
