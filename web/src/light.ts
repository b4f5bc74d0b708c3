// What belongs to one region lights up together, wherever it stands: on the photo, in the text, in the expression.
import { state } from "./store";

let lit: string | null = null;

/** Lights all that carries `data-region` of this id; null = nothing; without an id: again, after a redraw. */
export function light(id: string | null | undefined = lit): void {
  lit = id ?? null;
  for (const old of document.querySelectorAll(".lit")) old.classList.remove("lit");
  document.documentElement.classList.toggle("has-lit", lit !== null);
  if (lit !== null) for (const one of document.querySelectorAll(`[data-region="${lit}"]`)) one.classList.add("lit");
}

const regionOf = (target: EventTarget | null): string | null =>
  (target instanceof Element ? target.closest<HTMLElement | SVGElement>("[data-region]")?.dataset.region : null) ?? null;

/** Hover and focus anywhere light; a click on what carries `data-refer` refers. */
export function startLight(refer: (id: number) => void): void {
  document.addEventListener("pointerover", (event) => {
    const id = regionOf(event.target);
    if (id !== lit) light(id);
  });
  document.addEventListener("focusin", (event) => {
    const id = regionOf(event.target);
    if (id !== null || lit !== null) light(id);
  });
  document.addEventListener("click", (event) => {
    const at = event.target instanceof Element ? event.target.closest<HTMLElement | SVGElement>("[data-refer]") : null;
    if (!at || (at instanceof SVGElement && state.tool !== "pick")) return;
    refer(Number(at.dataset.refer));
  });
}
