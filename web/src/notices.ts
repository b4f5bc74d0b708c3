// Short notes at the edge of the page: what went wrong, what was done. A refusal says what to do.
import { Refused } from "./api";
import { h, tool } from "./dom";

const area = (): HTMLElement => document.getElementById("notices")!;

/** What a refusal says, as elements: the fault, then the way out. */
export function explained(error: Refused): HTMLElement {
  const { expected, got, cure, detail, title } = error.problem;
  const box = h("div", { class: "problem" });
  if (expected && got) {
    box.append(h("p", {}, h("b", {}, "Expected "), expected, "."), h("p", {}, h("b", {}, "Got "), got, "."));
  } else box.append(h("p", {}, sentence(detail || title)));
  if (cure) box.append(h("p", { class: "cure" }, sentence(cure)));
  if (error.wait !== null) box.append(h("p", { class: "cure" }, `Try again in ${error.wait} s.`));
  return box;
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** Takes away what was wrong before: something new is tried. */
export function clearProblems(): void {
  for (const card of area().querySelectorAll(".bad")) card.remove();
}

function put(content: Element, kind: string, seconds: number): void {
  const card = h("div", { class: `notice ${kind}` }, content);
  const gone = (): void => card.remove();
  card.append(tool("close", "Close this note", gone));
  area().append(card);
  while (area().childElementCount > 3) area().firstElementChild!.remove();
  setTimeout(gone, seconds * 1000);
}

export function notice(text: string): void {
  put(h("p", {}, text), "plain", 6);
}

export function problem(error: unknown): void {
  if (error instanceof Refused) put(explained(error), "bad", 20);
  else if (!(error instanceof DOMException && error.name === "AbortError")) {
    console.error(error);
    put(h("p", {}, `Something went wrong on this page: ${error instanceof Error ? error.message : String(error)}`), "bad", 20);
  }
}
