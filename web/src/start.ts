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

const input = h("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "Photo file", id: "photo-file" });
const snap = h("input", { type: "file", accept: "image/*", capture: "environment", hidden: true, "aria-label": "Camera photo" });
for (const one of [input, snap]) one.addEventListener("change", () => { void useFiles(one.files ?? []); one.value = ""; });

export const choose = (): void => input.click();

function shoot(): void {
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices) snap.click();
  else camera((file) => void useFile(file), () => snap.click());
}

export function start(): HTMLElement {
  return h("main", { class: "start" },
    h("h1", {}, "Talk a mask out of a photo"),
    h("p", { class: "lead" }, "Say what you see. Every answer is a sentence and an exact mask."),
    h("div", { class: "drop" }, icon("photo"), h("p", {}, "Drop a photo here, or paste one"),
      h("p", { class: "actions" },
        h("button", { type: "button", class: "main", onclick: choose }, icon("photo"), "Choose a photo"),
        h("button", { type: "button", onclick: shoot }, icon("camera"), "Camera"),
        h("button", { type: "button", onclick: () => batch([]) }, icon("stack"), "Many photos")),
      input, snap),
    h("section", { "aria-label": "Samples" }, h("h2", {}, "Or try one of these"), samples), recent, print);
}

const samples = h("div", { class: "samples" });
const recent = h("div", { class: "recent" });
const print = h("p", { class: "small-print" });

/** Samples and the last conversations, once the server has told them: the page stands before. */
export async function fillStart(): Promise<void> {
  print.textContent = keeps();
  try {
    const [known, { items }] = await Promise.all([samples.childElementCount > 0 ? [] : api.samples(), api.list(null)]);
    if (known.length > 0) samples.replaceChildren(...known.map((sample) => h("button", {
      type: "button", class: "sample", title: `${sample.what} (${sample.credit})`, onclick: () => void begin(api.sample(sample.name)),
    }, h("img", { src: sample.image_url, alt: "", width: sample.width, height: sample.height }), h("span", {}, capital(sample.what)))));
    recent.replaceChildren(...(items.length > 0 ? [h("h2", {}, "Go on"), rows(items.slice(0, 4))] : []));
  } catch (error) { problem(error); }
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

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
