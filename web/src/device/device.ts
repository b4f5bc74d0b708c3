// The engine that draws masks on this device: switched on and off, loaded when it is first used, its worker, what it
// could not do. The choice is remembered. Knows the API; knows no conversation.
import { Refused, api } from "../api";
import { notice, problem } from "../notices";
import type { Asked, Click, Drawn, Order, Photo, Told } from "./messages";

export type Status = "off" | "idle" | "loading" | "reading" | "ready";
const KEPT = "miras.device";
const THREADS = "miras.device.threads";
const MOST_THREADS = 4;

/** status: off; idle = on and not loaded; loading; reading a photo; ready for clicks on `photo`. share: 0 to 1 of what is loaded. */
export const device = { status: (recall(KEPT) === "on" ? "idle" : "off") as Status, photo: "", share: 0 };

let worker: Worker | null = null;
let begun: Promise<void> | null = null;
let last = 0;
const asked = new Map<number, { done: (value: unknown) => void; failed: (error: Error) => void }>();
const listeners: (() => void)[] = [];

export const onDevice = (listener: () => void): void => { listeners.push(listener); };

function recall(key: string): string | null {
  try { return localStorage.getItem(key); } catch { return null; }
}

function became(status: Status): void {
  device.status = status;
  for (const listener of listeners) listener();
}

function remember(on: boolean): void {
  try { on ? localStorage.setItem(KEPT, "on") : localStorage.removeItem(KEPT); } catch { /* only for this page, then */ }
}

/** On, or off: then nothing of it stays in memory. */
export function toggle(): void {
  const on = device.status === "off";
  remember(on);
  if (on) became("idle");
  else end();
}

function end(): void {
  worker?.terminate();
  [worker, begun, device.photo] = [null, null, ""];
  for (const { failed } of asked.values()) failed(new Error("switched off"));
  asked.clear();
  became("off");
}

/** One line for whatever went wrong; from then on the server draws, until it is switched on again. */
function failed(error: unknown): void {
  if (device.status === "off") return;
  remember(false);
  end();
  if (error instanceof Refused) return problem(error);
  const said = error instanceof Error ? error.message : String(error);
  if (/memory|alloc|out of bounds|array length/i.test(said)) notice("This device has not enough memory to draw masks: the server does it.");
  else if (/another version/.test(said)) notice("The server has graphs of another version: reload the page. Until then the server draws the masks.");
  else notice(`This device cannot draw masks (${said.slice(0, 120)}): the server does it.`);
}

function order<A>(what: Order): Promise<A> {
  return new Promise<A>((done, wrong) => {
    const id = ++last;
    asked.set(id, { done: done as (value: unknown) => void, failed: wrong });
    worker!.postMessage({ id, order: what } satisfies Asked);
  });
}

function hear(told: Told): void {
  if (told.kind === "progress") {
    device.share = Math.min(1, told.loaded / told.all);
    return became(device.status);
  }
  const one = asked.get(told.id);
  asked.delete(told.id);
  if (told.kind === "done") one?.done(told.value);
  else one?.failed(new Error(told.message));
}

async function start(): Promise<void> {
  if (typeof WebAssembly === "undefined" || typeof OffscreenCanvas === "undefined") throw new Error("the browser has no WebAssembly");
  const graphs = await api.graphs();
  const mine = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  worker = mine;
  mine.onmessage = (event: MessageEvent<Told>): void => hear(event.data);
  mine.onerror = (event): void => { event.preventDefault(); failed(new Error(event.message || "its worker did not start")); };
  const cores = Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1);
  const threads = self.crossOriginIsolated ? Number(recall(THREADS)) || cores : 1;
  await order({ kind: "start", graphs, threads });
}

/** Loads the engine where it is switched on, and reads a photo. Never throws. */
export async function prepare(photo: Photo): Promise<void> {
  if (device.status === "off" || device.photo === photo.id) return;
  try {
    if (begun === null) {
      device.share = 0;
      became("loading");
      begun = start();
    }
    const mine = begun;
    await mine;
    if (begun !== mine || device.photo === photo.id) return;
    device.photo = photo.id;
    became("reading");
    await order({ kind: "read", photo });
    if (device.photo === photo.id) became("ready");
  } catch (error) { failed(error); }
}

/** The mask of a click on the photo that is ready; null: the server is to draw it. Never throws. */
export async function draw(click: Click): Promise<Drawn | null> {
  try {
    return await order<Drawn>({ kind: "click", click });
  } catch (error) {
    failed(error);
    return null;
  }
}
