// What can be taken away: files of every format of the API, and copies on the clipboard.
import { api } from "./api";
import { h, icon } from "./dom";
import { notice, problem } from "./notices";
import { decodeRle } from "./rle";
import { settled, state } from "./store";

const FORMATS: [format: string, title: string, what: string][] = [
  ["mask", "Mask", "PNG, white is selected"],
  ["overlay", "Overlay", "PNG, regions drawn on it"],
  ["cutout", "Cut-out", "PNG, transparent around it"],
  ["svg", "Outline", "SVG paths"],
  ["coco", "COCO", "JSON of instances"],
  ["labelme", "LabelMe", "JSON of polygons"],
  ["rle", "Run lengths", "JSON with labels"],
  ["prist", "PRIST record", "ZIP, as training data"],
  ["corrections", "Corrections", "ZIP, what was mended, to train with"],
  ["session", "Session", "JSON, for Python"],
];

/** Gives a blob to the person as a file. */
export function save(blob: Blob, name: string): void {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function download(path: string): Promise<void> {
  try {
    if (!(await settled())) return;
    const { blob, name } = await api.file(path);
    save(blob, name);
    notice(`${name} is saved.`);
  } catch (error) {
    problem(error);
  }
}

/** The mask of what is selected now as a PNG, black and white, made here from its run lengths. */
export function maskPicture(): Promise<Blob> {
  const { rle } = state.conversation!.selection;
  const [height, width] = rle.size;
  const pixels = new Uint8ClampedArray(width * height * 4);
  decodeRle(rle).forEach((on, at) => pixels.set([255 * on, 255 * on, 255 * on, 255], at * 4));
  const canvas = h("canvas", { width, height });
  canvas.getContext("2d")!.putImageData(new ImageData(pixels, width, height), 0, 0);
  return new Promise((done, fail) => canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("no picture could be made"))), "image/png"));
}

async function copy(picture: () => Promise<Blob>, what: string): Promise<void> {
  if (!state.conversation?.selection.expression) return notice("Nothing is selected yet.");
  if (!("ClipboardItem" in window) || !navigator.clipboard) return notice("This browser cannot copy pictures. Save the file instead.");
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": picture() })]);
    notice(`${what} is on the clipboard.`);
  } catch (error) {
    if (error instanceof DOMException) notice("The browser did not allow the copy. Save the file instead.");
    else problem(error);
  }
}

export function exportMenu(): HTMLElement {
  const each = h("input", { type: "checkbox" });
  const menu = h("div", { class: "menu", id: "export-menu", popover: "auto", role: "dialog", "aria-label": "Export" });
  const item = (title: string, what: string, click: () => void, picture: string): HTMLElement =>
    h("button", { type: "button", class: "item", onclick: () => { menu.hidePopover(); click(); } }, icon(picture), h("span", {}, h("b", {}, title), h("small", {}, what)));
  menu.append(
    item("Copy the mask", "black and white", () => void copy(maskPicture, "The mask"), "copy"),
    item("Copy the cut-out", "transparent around it", () => void copy(async () => (await api.file(api.exportPath(state.conversation!.id, "cutout", false))).blob, "The cut-out"), "copy"),
    h("hr"), h("label", { class: "check" }, each, "Every region by itself"),
    ...FORMATS.map(([format, title, what]) => item(title, what, () => void download(api.exportPath(state.conversation!.id, format, each.checked)), "export")),
    h("hr"), item("All corrections", "of all conversations, to train with", () => void download("/api/v1/corrections"), "stack"));
  return menu;
}
