// Keys and a few words of help.
import { h, tool } from "./dom";

const KEYS: [string, string][] = [
  ["Enter", "send; Shift+Enter begins a new line"], ["/", "to the message"], ["Ctrl+Z", "undo the last turn"], [", .", "look at the turn before, after"],
  ["1 2 3 4", "masks, before/after, cut-out, photo"], ["V P B S D E", "pick, points, box, scribble, brush, eraser"], ["X", "belongs, or does not"],
  ["[ ]", "thinner, thicker pen"], ["+ - 0", "zoom, all of the photo"], ["Arrows", "on the photo: move it, or the tool's cross; Shift is faster"],
  ["Enter", "on the photo: set a point, a corner, begin and end a stroke"], ["Esc", "leave the tool"], ["?", "this page"],
];

export function help(): void {
  const dialog = h("dialog", { class: "help", "aria-label": "Help" },
    h("header", {}, h("h2", {}, "How to talk to a photo"), tool("close", "Close", () => dialog.close())),
    h("ul", {},
      h("li", {}, "Name a thing: “Where is the cup?” Add: “Also the spoon.” Take away: “Without the handle.” All but: “Everything but the cup.”"),
      h("li", {}, "Click a region or its name, and its name goes into the message."),
      h("li", {}, "Click a number or a sign of the selection (1 + 2) to take things out, combine them otherwise, or invert them."),
      h("li", {}, "Points, box and scribble ask the model for a better mask; brush and eraser change its pixels."),
      h("li", {}, "A turn in the strip shows what was selected then. Fork goes on from there in a copy.")),
    h("dl", { class: "keys" }, ...KEYS.flatMap(([key, what]) => [h("dt", {}, ...key.split(" ").flatMap((one) => [h("kbd", {}, one), " "])), h("dd", {}, what)])));
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
}
