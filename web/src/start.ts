// The first view: a photo by drag, paste, file, camera or sample; and the last conversations.
import { api } from "./api";
import { batch } from "./batch";
import { camera } from "./camera";
import { h, icon } from "./dom";
import { rows } from "./library";
import { notice, problem } from "./notices";
import { begin, state } from "./store";

/** Uploads a photo and starts a conversation about it. What cannot be a photo is refused before it travels. */
export async function useFile(file: File): Promise<void> {
  const most = state.limits?.photo_bytes;
  if (most && file.size > most) {
    return notice(`${file.name} has ${megabytes(file.size)}; this server takes photos of at most ${megabytes(most)}. Save it smaller, then try again.`);
  }
  if (file.type !== "" && !file.type.startsWith("image/")) return notice(`${file.name} is no photo (${file.type}). JPEG, PNG, WebP, AVIF, GIF, BMP and TIFF are read.`);
  document.documentElement.classList.add("loading");
  await begin(api.upload(file, file.name || "pasted.png"));
  document.documentElement.classList.remove("loading");
}

const megabytes = (bytes: number): string => `${(bytes / 1048576).toFixed(1)} MiB`;

export async function useFiles(files: Iterable<File>): Promise<void> {
  const list = [...files];
  if (list.length === 1) await useFile(list[0]!);
  else if (list.length > 1) batch(list);
}

const input = h("input", { type: "file", accept: "image/*", class: "hidden-text", tabindex: -1, "aria-label": "Photo file", id: "photo-file" });
const snap = h("input", { type: "file", accept: "image/*", capture: "environment", class: "hidden-text", tabindex: -1, "aria-label": "Camera photo" });
for (const one of [input, snap]) one.addEventListener("change", () => { void useFiles(one.files ?? []); one.value = ""; });

export const choose = (): void => input.click();

function shoot(): void {
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices) snap.click();
  else camera((file) => void useFile(file), () => snap.click());
}

export function start(): HTMLElement {
  const recent = h("div", { class: "recent" });
  api.list(null).then(({ items }) => {
    if (items.length > 0) recent.append(h("h2", {}, "Go on"), rows(items.slice(0, 4)));
  }).catch(problem);
  const samples = state.samples.map((sample) => h("button", {
    type: "button", class: "sample", title: `${sample.what} (${sample.credit})`, onclick: () => void begin(api.sample(sample.name)),
  }, h("img", { src: sample.image_url, alt: "", width: sample.width, height: sample.height, loading: "lazy" }), h("span", {}, sample.what)));
  return h("main", { class: "start" },
    h("h1", {}, "Talk a mask out of a photo"),
    h("p", { class: "lead" }, "Say what you see. Every answer is a sentence and an exact mask."),
    h("div", { class: "drop" }, icon("photo"), h("p", {}, "Drop a photo here, or paste one"),
      h("p", { class: "actions" },
        h("button", { type: "button", class: "main", onclick: choose }, icon("photo"), "Choose a photo"),
        h("button", { type: "button", onclick: shoot }, icon("camera"), "Camera"),
        h("button", { type: "button", onclick: () => batch([]) }, icon("stack"), "Many photos")),
      input, snap),
    samples.length > 0 && h("section", { "aria-label": "Samples" }, h("h2", {}, "Or try one of these"), h("div", { class: "samples" }, ...samples)),
    recent,
    h("p", { class: "small-print" }, keeps()));
}

function keeps(): string {
  const days = state.limits?.retention_days;
  const model = state.limits ? `Model: ${state.limits.model}. ` : "";
  return `${model}Photos stay on this server; place and camera are removed from them. ${days ? `What is not used for ${days} days is deleted.` : ""}`;
}

/** Drag and paste work everywhere on the page. */
export function startDrop(): void {
  const over = (on: boolean): void => void document.documentElement.classList.toggle("dragging", on);
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    over(true);
  });
  addEventListener("dragleave", (event) => { if (event.relatedTarget === null) over(false); });
  addEventListener("drop", (event) => {
    over(false);
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    void useFiles(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (files.length === 0) return;
    event.preventDefault();
    void useFiles(files);
  });
}
