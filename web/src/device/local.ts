// A click that this device draws: what the decoder is told of the region, the mask, and its place among those that wait.
import { Refused, api } from "../api";
import { put, waiting } from "../outbox";
import type { Conversation, Refine, Region, Selection } from "../types";
import { device, draw, prepare } from "./device";
import type { Photo, Words } from "./messages";

const known = new Map<string, Words>();

const photoOf = ({ photo }: Conversation): Photo => ({ id: photo.id, url: photo.image_url, width: photo.width, height: photo.height });

/** The region that a gesture changes; null: a new one. */
export const aimed = (target: number | null, selection: Selection): number | null =>
  target ?? selection.added.at(-1) ?? selection.left_out.at(-1) ?? null;

/** What the words depend on: the turns, but for the last refinements of the region itself, which change neither its words
 *  nor the regions before it. */
function stateOf(talk: Conversation, region: number | null): string {
  const turn = talk.history.filter((one) => !(one.kind === "refinement" && one.regions[0]?.id === region)).at(-1);
  return `${talk.id} ${region ?? ""} ${turn?.key ?? ""}`;
}

async function wordsOf(talk: Conversation, region: number | null): Promise<Words | null> {
  const key = stateOf(talk, region);
  const kept = known.get(key);
  if (kept) return kept;
  try {
    const words = await api.words(talk.id, region);
    known.set(key, words);
    if (known.size > 50) known.delete(known.keys().next().value!);
    return words;
  } catch (error) {
    const status = error instanceof Refused ? error.problem.status : 0;
    if (status === 409) return null; // the server reads the conversation anew: it draws this one
    const older = [...known].filter(([name]) => name.startsWith(`${talk.id} ${region ?? ""} `)).at(-1);
    const before = talk.regions.filter((one) => region === null || one.id < region).map((one) => one.id);
    return older?.[1] ?? { region, span: null, memory: before };
  }
}

/** Loads what a click will need. */
export async function ahead(talk: Conversation, target: number | null): Promise<void> {
  if (device.status === "off") return;
  await prepare(photoOf(talk));
  if (device.status === "ready") await wordsOf(talk, aimed(target, talk.selection));
}

/** Draws a gesture of points or a box here; false: the server is to do it. */
export async function here(
  talk: Conversation, target: number | null, now: { regions: Region[]; selection: Selection }, gesture: Omit<Refine, "region">,
): Promise<boolean> {
  if (device.status !== "ready" || device.photo !== talk.photo.id) return false;
  const region = aimed(target, now.selection);
  const waits = region !== null && waiting(talk.id).some((one) => one.id === region && one.fresh);
  const words = await wordsOf(talk, waits ? null : region);
  if (words === null) return false;
  const id = region ?? Math.max(0, ...now.regions.map((one) => one.id)) + 1;
  const expression = region === null ? String(id) : now.selection.expression;
  const masks = Object.fromEntries(now.regions.map((one) => [one.id, one.rle]));
  const memory = words.memory.filter((one) => one < id);
  const drawn = await draw({
    photo: photoOf(talk), dots: gesture.points ?? [], box: gesture.box ?? null, words: { ...words, memory }, masks, region: id, expression,
  });
  if (drawn === null || drawn.region.area === 0) return false;
  put(talk.id, { id, fresh: region === null, turns: talk.history.length, region: drawn.region, selection: drawn.selection, expression });
  return true;
}
