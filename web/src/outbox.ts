// Masks that were drawn on this device and that the server does not have yet. They are shown at once, kept in this browser, and
// sent in their order; while the server is away they wait. Knows the API; knows no stage.
import { Refused, api } from "./api";
import type { Look } from "./device/messages";
import { notice, problem } from "./notices";
import type { Turn } from "./types";

/** id: of the region; fresh: the server has no such region yet. turns: those that the server had when it was drawn. tried: it was
 *  sent before; the answer may have been lost. */
export interface Waiting { id: number; fresh: boolean; turns: number; tried?: boolean; region: Look; selection: Look; expression: string }

const AGAIN = 5000;
const lists = new Map<string, Waiting[]>();
const sending = new Map<string, Promise<boolean>>();
let flying: Waiting | null = null;
let told = false;
let heard: { sent: (talk: string, turn: Turn) => void; lost: (talk: string) => void } = { sent: () => {}, lost: () => {} };

export const onSent = (listener: typeof heard): void => { heard = listener; };
const name = (talk: string): string => `miras.waiting.${talk}`;

export function waiting(talk: string): Waiting[] {
  if (!lists.has(talk)) {
    let kept: Waiting[] = [];
    try { kept = JSON.parse(localStorage.getItem(name(talk)) ?? "[]") as Waiting[]; } catch { /* damaged: nothing waits */ }
    lists.set(talk, kept);
  }
  return lists.get(talk)!;
}

function keep(talk: string): void {
  const list = waiting(talk);
  try { list.length > 0 ? localStorage.setItem(name(talk), JSON.stringify(list)) : localStorage.removeItem(name(talk)); } catch { /* as long as this page is open, then */ }
}

/** One more; it takes the place of the last one when that is of the same region and still waits. */
export function put(talk: string, one: Waiting): void {
  const list = waiting(talk);
  const before = list.at(-1);
  if (before && before !== flying && before.id === one.id) list[list.length - 1] = { ...one, fresh: before.fresh };
  else list.push(one);
  keep(talk);
  void send(talk);
}

/** Takes the last one back, when it still waits. */
export function takeBack(talk: string): boolean {
  const list = waiting(talk);
  if (list.length === 0 || list.at(-1) === flying) return false;
  list.pop();
  keep(talk);
  return true;
}

/** Sends all that wait; false when the server is away. One at a time. */
export function send(talk: string): Promise<boolean> {
  const running = sending.get(talk);
  if (running) return running;
  const mine = empty(talk).finally(() => sending.delete(talk));
  sending.set(talk, mine);
  return mine;
}

async function empty(talk: string): Promise<boolean> {
  const list = waiting(talk);
  while (list.length > 0) {
    const one = (flying = list[0]!);
    try {
      const known = one.tried ? await arrived(talk, one) : undefined;
      one.tried = true;
      keep(talk);
      const turn = known ?? (await api.refine(talk, { region: one.fresh ? null : one.id, mask: { rle: one.region.rle } }));
      list.shift();
      keep(talk);
      told = false;
      heard.sent(talk, turn);
    } catch (error) {
      if (isAway(error)) {
        if (!told) notice("The server does not take the mask now: it is kept here and sent again.");
        told = true;
        setTimeout(() => void send(talk), AGAIN);
        return false;
      }
      list.length = 0;
      keep(talk);
      problem(error);
      heard.lost(talk);
    } finally { flying = null; }
  }
  return true;
}

/** The turn that a mask became when it was sent before, where only the answer was lost. */
async function arrived(talk: string, one: Waiting): Promise<Turn | undefined> {
  const { history } = await api.conversation(talk);
  return history.slice(one.turns).find((turn) => turn.regions.some((region) => region.id === one.id && region.rle.counts === one.region.rle.counts));
}

/** Whether it is worth trying again: no answer, a fault, a full queue, another turn that runs. */
const isAway = (error: unknown): boolean =>
  error instanceof Refused && (error.problem.status === 0 || error.problem.status >= 500 || error.problem.status === 429
    || error.problem.type === "urn:miras:problem:conflict");

addEventListener("online", () => { for (const [talk, list] of lists) if (list.length > 0) void send(talk); });
