// The strip of turns under the photo: a click looks at what was selected then.
import { h } from "./dom";
import { look, on, state } from "./store";
import { thumb } from "./thumb";
import type { Region } from "./types";

const strip = h("div", { class: "strip", role: "group", "aria-label": "Turns" });
let made = "";

function draw(): void {
  const talk = state.conversation;
  strip.hidden = talk === null || talk.history.length === 0;
  if (talk === null) return;
  const is = `${talk.id} ${talk.history.map((turn) => turn.key).join(" ")}`;
  if (is !== made) {
    made = is;
    const known = new Map<number, Region>();
    strip.replaceChildren(...talk.history.map((turn) => {
      for (const region of turn.regions) known.set(region.id, region);
      const words = turn.kind === "selection" ? turn.selection.label || "nothing" : turn.user || (turn.regions[0] ? `${turn.regions[0].phrase}, by hand` : "by hand");
      return h("button", { type: "button", class: "step", "data-turn": turn.turn, title: words, "aria-label": `Turn ${turn.turn}: ${words}. Selected: ${turn.selection.label || "nothing"}`, onclick: () => look(turn.turn) },
        thumb(talk.photo, turn.selection, [...known.values()]), h("span", { class: "step-words" }, h("b", {}, String(turn.turn)), ` ${words}`));
    }));
    strip.scrollLeft = strip.scrollWidth;
  }
  const at = state.at ?? talk.history.length;
  for (const step of strip.children) {
    const here = Number(step.getAttribute("data-turn")) === at;
    if (here) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  }
}

export function history(): HTMLElement {
  on(["conversation", "view"], draw);
  strip.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !(document.activeElement instanceof HTMLElement)) return;
    const next = step < 0 ? document.activeElement.previousElementSibling : document.activeElement.nextElementSibling;
    if (next instanceof HTMLElement) { next.focus(); next.click(); }
    event.preventDefault();
  });
  return strip;
}
