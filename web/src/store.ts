// What the page knows, and what may be done. Panels read `state` and hear of changes by topic; only this file changes it.
import { type Listener, Refused, api, ask } from "./api";
import { ahead, aimed, here } from "./device/local";
import { announce } from "./dom";
import { signs } from "./expression";
import { clearProblems, notice, problem } from "./notices";
import { onSent, send, takeBack, waiting } from "./outbox";
import type { Conversation, Limits, Photo, Piece, Refine, Region, Selection, Session, Summary, Turn } from "./types";

export type Mode = "mask" | "compare" | "cutout" | "photo";
export type Topic = "conversation" | "pending" | "view" | "tool" | "busy";
export interface Pending { text: string; pieces: Piece[]; regions: Region[]; position: number; since: number; stop: AbortController }

export const state = {
  session: { auth: "none", signed_in: true, csrf: null } as Session,
  limits: null as Limits | null,
  conversation: null as Conversation | null,
  /** The turn that is looked at; null = now. */
  at: null as number | null,
  pending: null as Pending | null,
  busy: false,
  /** Why the open question has no answer, as the last attempt said. */
  failed: null as Refused | null,
  mode: "mask" as Mode,
  opacity: 0.42,
  split: 0.5,
  tool: "pick",
  sign: 1 as 0 | 1,
  pen: 18,
  /** The region that gestures change; null = the one last added. */
  target: null as number | null,
};

const listeners: [Topic[], () => void][] = [];

export function on(topics: Topic[], listener: () => void): void {
  listeners.push([topics, listener]);
}

export function changed(...topics: Topic[]): void {
  for (const [heard, listener] of listeners) if (topics.some((topic) => heard.includes(topic))) listener();
}

// What is shown

export interface Shown { regions: Region[]; selection: Selection; named: Set<number> }

/** The regions and the selection at the turn that is looked at, with what is being made now. */
export function shown(): Shown | null {
  const talk = state.conversation;
  if (talk === null) return null;
  const past = state.at === null ? null : talk.history[state.at - 1];
  if (past) {
    const known = new Map<number, Region>();
    for (const turn of talk.history.slice(0, past.turn)) for (const region of turn.regions) known.set(region.id, region);
    return { regions: [...known.values()], selection: past.selection, named: new Set(past.regions.map((one) => one.id)) };
  }
  const last = talk.history.at(-1);
  const named = new Set(last?.regions.map((one) => one.id));
  if (state.pending === null || state.pending.regions.length === 0) return { ...late(talk), named };
  const fresh = state.pending.regions;
  const regions = [...talk.regions.filter((old) => !fresh.some((one) => one.id === old.id)), ...fresh];
  const added = fresh.filter((one) => one.operator !== "cut").map((one) => one.id);
  return { regions, selection: { ...talk.selection, outline: fresh.map((one) => one.outline).join(""), expression: "", added, left_out: [] }, named: new Set(added) };
}

/** The regions and the selection with the masks that the server does not have yet. */
function late(talk: Conversation): { regions: Region[]; selection: Selection } {
  const list = waiting(talk.id);
  const known = new Map(talk.regions.map((region) => [region.id, region]));
  for (const { id, region } of list) known.set(id, { ...(known.get(id) ?? { ...POINTED, id }), ...region, score: null });
  const last = list.at(-1);
  if (!last) return talk;
  const { expression, selection } = last;
  const fresh = expression !== talk.selection.expression && { expression, added: [last.id], left_out: [], label: POINTED.phrase };
  return { regions: [...known.values()], selection: { ...talk.selection, ...selection, ...fresh } };
}

const POINTED: Omit<Region, "id" | "area" | "box" | "outline" | "rle"> = {
  phrase: "what you point at", score: null, operator: "replace", again: false, turn: 0, alternatives: [], mask_url: "",
};

export { aimed };

/** Turns, those too that the server does not have yet. */
export const turnsNow = (): number => (state.conversation ? state.conversation.history.length + waiting(state.conversation.id).length : -1);

export function regionNamed(id: number): Region | undefined {
  return shown()?.regions.find((region) => region.id === id);
}

/** Whether each region of an expression is selected; an expression that cannot be read has none. */
export function signsOf(selection: Selection): Map<number, boolean> {
  try {
    return signs(selection.expression);
  } catch {
    return new Map(selection.added.map((id) => [id, true]));
  }
}

// What may be done

let changing = false;
let opening = false;

function occupied(): void {
  state.busy = changing || opening;
  changed("busy");
}

/** Runs one change at a time; a refusal is shown and gives undefined. */
async function change<A>(work: () => Promise<A>): Promise<A | undefined> {
  if (state.busy || state.pending !== null) {
    notice("One thing at a time: the last one is still running.");
    return undefined;
  }
  changing = true;
  clearProblems();
  occupied();
  try {
    if (!(await settled())) return undefined;
    return await work();
  } catch (error) {
    problem(error);
    return undefined;
  } finally {
    changing = false;
    occupied();
  }
}

function hold(talk: Conversation | null): void {
  state.conversation = talk;
  state.at = null;
  state.failed = null;
  if (talk === null || !talk.regions.some((region) => region.id === state.target)) state.target = null;
  changed("conversation", "view");
}

let watching = 0;

/** What was about to be opened is not waited for any more. */
function leave(): void {
  watching++;
  opening = false;
  occupied();
}

/** Shows a conversation that was just made, at once: no word can go to the one that stood there. */
function enter(talk: Conversation): void {
  leave();
  hold(talk);
  location.hash = talk.id;
}

/**
 * Opens a conversation; while another page's turn runs in it, looks again now and then. Until it has come, nothing can
 * be said to the one that still stands there.
 */
export async function open(id: string): Promise<boolean> {
  const mine = ++watching;
  state.pending?.stop.abort();
  opening = state.conversation !== null && state.conversation.id !== id;
  occupied();
  try {
    const talk = await api.conversation(id);
    if (mine !== watching) return true;
    hold(talk);
    void send(talk.id);
    if (talk.state === "running" && state.pending === null)
      setTimeout(() => mine === watching && state.pending === null && void open(id), 1500);
    return true;
  } catch (error) {
    problem(error);
    return false;
  } finally {
    if (mine === watching) opening = false;
    occupied();
  }
}

export function close(): void {
  leave();
  state.pending?.stop.abort();
  hold(null);
}

export async function begin(photo: Promise<Photo>): Promise<void> {
  const talk = await change(async () => api.start((await photo).id));
  if (talk) enter(talk);
}

/** Asks, or asks the open question again (null). True when it was taken: else what was typed is to be kept. */
export async function say(text: string | null): Promise<boolean> {
  const talk = state.conversation;
  if (talk === null || state.busy || state.pending !== null || !(await settled())) return false;
  const pending: Pending = {
    text: text ?? talk.open?.text ?? "", pieces: [], regions: [], position: 0, since: performance.now(), stop: new AbortController(),
  };
  state.pending = pending;
  clearProblems();
  state.at = null;
  state.failed = null;
  changed("pending", "conversation", "view", "busy");
  let begun = false;
  const here = (): boolean => state.conversation?.id === talk.id;
  try {
    const listener: Listener = {
      queue: (position) => { begun = true; pending.position = position; if (position > 0) announce(`${position} before you`); changed("pending"); },
      text: (words) => { begun = true; pending.pieces.push({ text: words, region: null }); changed("pending"); },
      region: (region) => { begun = true; settle(pending, region); changed("pending", "view"); },
    };
    const turn = await ask(talk.id, text, listener, pending.stop.signal).catch((error: unknown) => {
      if (text !== null || begun || !isConflict(error)) throw error;
      return ask(talk.id, pending.text, listener, pending.stop.signal); // the server never saw the question
    });
    if (state.pending === pending) state.pending = null;
    if (here()) took(talk, turn);
    return true;
  } catch (error) {
    if (state.pending === pending) state.pending = null;
    const aborted = error instanceof DOMException && error.name === "AbortError";
    if (!here()) return true;
    if (!begun && !aborted) {
      problem(error);
      return text === null;
    }
    talk.open = { text: pending.text, since: new Date().toISOString() };
    talk.state = "open";
    state.failed = error instanceof Refused ? error : null;
    announce(aborted ? "Stopped. The question is kept." : "No answer. The question is kept.");
    return true;
  } finally {
    changed("pending", "conversation", "view", "busy");
  }
}

const isConflict = (error: unknown): boolean => error instanceof Refused && error.problem.status === 409;

/** The name that was just written becomes the region's. */
function settle(pending: Pending, region: Region): void {
  pending.regions.push(region);
  const text = pending.pieces.filter((piece) => piece.region === null);
  const last = text.at(-1);
  const whole = pending.pieces.map((piece) => piece.text).join("");
  if (last && whole.toLowerCase().endsWith(region.phrase.toLowerCase())) {
    let rest = region.phrase.length;
    while (rest > 0 && pending.pieces.length > 0) {
      const piece = pending.pieces.pop()!;
      if (piece.text.length > rest) pending.pieces.push({ ...piece, text: piece.text.slice(0, -rest) });
      rest -= piece.text.length;
    }
    pending.pieces.push({ text: whole.slice(whole.length - region.phrase.length), region: region.id });
  } else pending.pieces.push({ text: region.phrase, region: region.id });
}

function took(talk: Conversation, turn: Turn): void {
  talk.history = [...talk.history.slice(0, turn.turn - 1), turn];
  const known = new Map(talk.regions.map((region) => [region.id, region]));
  for (const region of turn.regions) known.set(region.id, region);
  talk.regions = [...known.values()].sort((a, b) => a.id - b.id);
  talk.selection = turn.selection;
  talk.turns = talk.history.length;
  talk.open = null;
  talk.state = "idle";
  if (turn.turn === 1 && turn.user && talk.title === talk.photo.name) talk.title = turn.user;
  announce(`${turn.text || "Changed."} Selected: ${turn.selection.label || "nothing"}.`);
}

export function stop(): void {
  state.pending?.stop.abort();
}

/** A turn without words, made by `work`. */
async function byHand(work: (talk: Conversation) => Promise<Turn>): Promise<boolean> {
  const talk = state.conversation;
  if (talk === null) return false;
  const turn = await change(() => work(talk));
  if (!turn || state.conversation?.id !== talk.id) return false;
  state.at = null;
  took(talk, turn);
  changed("conversation", "view");
  return true;
}

/** A change by hand, on the region that is chosen: drawn on this device, where it can, else on the server. */
export async function refine(gesture: Omit<Refine, "region">): Promise<boolean> {
  const [talk, now] = [state.conversation, shown()];
  const free = !state.busy && state.pending === null && (gesture.points ?? gesture.box ?? null) !== null;
  if (talk && now && free && (await here(talk, state.target, now, gesture))) {
    changed("conversation", "view");
    announce("Changed.");
    return true;
  }
  return byHand((one) => api.refine(one.id, { region: state.target, ...gesture }));
}

/** Whether the server has all masks of this conversation; what waits is sent first. */
export const settled = async (): Promise<boolean> =>
  state.conversation === null || waiting(state.conversation.id).length === 0 || (await send(state.conversation.id));

onSent({
  sent: (id, turn) => {
    if (state.conversation?.id !== id) return;
    took(state.conversation, turn);
    changed("conversation", "view");
  },
  lost: (id) => { if (state.conversation?.id === id) void open(id); },
});
on(["tool", "conversation"], () => {
  const talk = state.conversation;
  if (talk && (state.tool === "points" || state.tool === "box")) void ahead(talk, state.target);
});

/** Another selection of the regions that there are. */
export const choose = (expression: string): Promise<boolean> => byHand((talk) => api.select(talk.id, expression));

async function anew(work: (talk: Conversation) => Promise<unknown>, said: string): Promise<void> {
  const talk = state.conversation;
  if (talk === null) return;
  const fresh = await change(async () => { await work(talk); return api.conversation(talk.id); });
  if (!fresh || state.conversation?.id !== talk.id) return;
  hold(fresh);
  announce(`${said} Selected: ${fresh.selection.label || "nothing"}.`);
}

export async function undo(): Promise<void> {
  if (state.conversation === null || !takeBack(state.conversation.id)) return anew((talk) => api.undo(talk.id), "Undone.");
  announce("Undone.");
  changed("conversation", "view");
}
export const drop = (): Promise<void> => anew((talk) => api.drop(talk.id).catch((error: unknown) => {
  if (!isConflict(error)) throw error; // a question that the server never saw is dropped already
}), "The question is dropped.");
export const take = (region: number, phrase: string): Promise<void> =>
  anew((talk) => api.alternative(talk.id, region, phrase), `Taken as ${phrase}.`);

export async function fork(turns: number | null): Promise<void> {
  const talk = state.conversation;
  if (talk === null) return;
  const fresh = await change(() => api.fork(talk.id, turns));
  if (!fresh) return;
  enter(fresh);
  notice(`A copy with ${fresh.turns} ${fresh.turns === 1 ? "turn" : "turns"}: the first conversation stays as it is.`);
}

export async function rename(talk: Summary, title: string): Promise<void> {
  const wanted = title.trim();
  if (wanted === "" || wanted === talk.title) return;
  const fresh = await change(() => api.rename(talk.id, wanted));
  if (!fresh) return;
  talk.title = fresh.title;
  if (state.conversation?.id === talk.id) state.conversation.title = fresh.title;
  changed("conversation");
}

export function look(turn: number | null): void {
  const last = state.conversation?.history.length ?? 0;
  state.at = turn === null || turn >= last ? null : Math.max(1, turn);
  changed("view");
}

export function show(part: Partial<Pick<typeof state, "mode" | "opacity" | "split">>): void {
  Object.assign(state, part);
  changed("view");
}

export function wield(part: Partial<Pick<typeof state, "tool" | "sign" | "pen" | "target">>): void {
  Object.assign(state, part);
  changed("tool");
}
