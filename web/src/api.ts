// The HTTP API: typed calls, problems as errors, the stream of `ask`. Knows no page.
import { EventReader } from "./sse";
import type { Graphs, Words } from "./device/messages";
import type * as T from "./types";

const ROOT = "/api/v1";
let csrf: string | null = null;

/** A refusal: what was expected, what was got, what to do. */
export class Refused extends Error {
  constructor(readonly problem: T.Problem, readonly wait: number | null = null) {
    super(problem.detail || problem.title);
  }
}

async function refused(answer: Response): Promise<Refused> {
  const wait = Number(answer.headers.get("Retry-After") ?? "") || null;
  try {
    const body = (await answer.json()) as T.Problem;
    if (typeof body.detail === "string") return new Refused(body, wait);
  } catch { /* no JSON: said below */ }
  return new Refused({
    type: "urn:miras:problem:internal", title: "The server did not answer as it should", status: answer.status,
    detail: `the server answered with status ${answer.status}`, cure: "try again; if it stays so, look into the server's log",
  }, wait);
}

async function call(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (csrf !== null && init.method !== undefined && init.method !== "GET") headers.set("X-CSRF-Token", csrf);
  let answer: Response;
  try {
    answer = await fetch(path.startsWith("/") ? path : `${ROOT}/${path}`, { credentials: "same-origin", ...init, headers });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refused({
      type: "urn:miras:problem:unreachable", title: "No answer", status: 0, detail: "the server cannot be reached",
      cure: "see whether `miras serve` runs, then try again",
    });
  }
  if (answer.status === 401 && !path.startsWith("login")) location.reload(); // signed out elsewhere: the page asks for the token
  if (!answer.ok) throw await refused(answer);
  return answer;
}

async function json<A>(path: string, method = "GET", body?: unknown): Promise<A> {
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "Content-Type": "application/json" };
  }
  const answer = await call(path, init);
  return (answer.status === 204 ? undefined : await answer.json()) as A;
}

async function session(path: string, method = "GET", body?: unknown): Promise<T.Session> {
  const got = await json<T.Session>(path, method, body);
  csrf = got.csrf;
  return got;
}

export const api = {
  session: () => session("session"),
  login: (token: string) => session("login", "POST", { token }),
  logout: async () => { await json("logout", "POST"); csrf = null; },
  limits: () => json<T.Limits>("limits"),
  samples: async () => (await json<{ items: T.Sample[] }>("samples")).items,
  upload: async (file: Blob, name: string): Promise<T.Photo> => {
    const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
    const init = { method: "POST", body: file, headers: { "Content-Type": type } };
    return (await call(`photos?name=${encodeURIComponent(name)}`, init)).json();
  },
  sample: (name: string) => json<T.Photo>("photos/sample", "POST", { sample: name }),
  start: (photo: string) => json<T.Conversation>("conversations", "POST", { photo, title: null }),
  list: (before: string | null) =>
    json<{ items: T.Summary[]; next: string | null }>(`conversations?limit=50${before ? `&before=${encodeURIComponent(before)}` : ""}`),
  conversation: (id: string) => json<T.Conversation>(`conversations/${id}`),
  rename: (id: string, title: string) => json<T.Summary>(`conversations/${id}`, "PATCH", { title }),
  remove: (id: string) => json<void>(`conversations/${id}`, "DELETE"),
  drop: (id: string) => json<T.Conversation>(`conversations/${id}/open`, "DELETE"),
  refine: (id: string, body: T.Refine) => json<T.Turn>(`conversations/${id}/refine`, "POST", body),
  graphs: () => json<Graphs>("graphs"),
  words: (id: string, region: number | null) => json<Words>(`conversations/${id}/words${region === null ? "" : `?region=${region}`}`),
  select: (id: string, expression: string) => json<T.Turn>(`conversations/${id}/select`, "POST", { expression }),
  alternative: (id: string, region: number, phrase: string) => json<T.Turn>(`conversations/${id}/alternative`, "POST", { region, phrase }),
  undo: (id: string) => json<T.Conversation>(`conversations/${id}/undo`, "POST"),
  fork: (id: string, turns: number | null) => json<T.Conversation>(`conversations/${id}/fork`, "POST", { turns, title: null }),
  file: async (path: string): Promise<{ blob: Blob; name: string }> => {
    const answer = await call(path);
    const named = /filename="?([^";]+)"?/.exec(answer.headers.get("Content-Disposition") ?? "");
    return { blob: await answer.blob(), name: named?.[1] ?? "miras" };
  },
  sheets: async () => (await json<{ items: T.SheetSummary[] }>("rating")).items,
  sheet: (name: string) => json<T.Sheet>(`rating/${encodeURIComponent(name)}`),
  rate: (name: string, item: string, body: { answers?: Record<string, string | null>; comment?: string }) =>
    json<T.Rated>(`rating/${encodeURIComponent(name)}/items/${encodeURIComponent(item)}`, "PUT", body),
  exportPath: (id: string, format: string, each: boolean) => `${ROOT}/conversations/${id}/export?format=${format}&each=${each}`,
};

export interface Listener {
  queue(position: number): void;
  text(text: string): void;
  region(region: T.Region): void;
}

/** Asks (text) or asks the open question again (null); the turn, once it is on the disk. Throws Refused. */
export async function ask(id: string, text: string | null, listener: Listener, signal: AbortSignal): Promise<T.Turn> {
  const init: RequestInit = { method: "POST", signal };
  if (text !== null) {
    init.body = JSON.stringify({ text });
    init.headers = { "Content-Type": "application/json" };
  }
  const answer = await call(`conversations/${id}/${text === null ? "retry" : "ask"}`, init);
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  const events = new EventReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    for (const { event, data } of events.push(value)) {
      const body = JSON.parse(data);
      if (event === "queue") listener.queue(body.position);
      else if (event === "text") listener.text(body.text);
      else if (event === "region") listener.region(body);
      else if (event === "reply") return body;
      else if (event === "error") throw new Refused(body);
    }
  }
  throw new Refused({
    type: "urn:miras:problem:cut", title: "The answer was cut off", status: 0, detail: "the answer was cut off before its end",
    cure: "ask again: your question is kept",
  });
}
