// A small picture of a photo with what is selected on it.
import { hue, svg } from "./dom";
import { signsOf } from "./store";
import type { Photo, Region, Selection } from "./types";

let count = 0;

export function thumb(photo: Photo, selection: Selection, regions: Region[]): SVGSVGElement {
  const id = `thumb-${count++}`;
  const { width, height } = photo;
  const signs = signsOf(selection);
  const box = { x: 0, y: 0, width, height };
  return svg("svg", { class: "thumb", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" },
    svg("clipPath", { id }, svg("path", { d: selection.outline || "M0 0", "clip-rule": "evenodd" })),
    svg("image", { href: photo.thumbnail_url, ...box }),
    svg("path", { class: "dim", d: selection.outline ? `M0 0H${width}V${height}H0Z${selection.outline}` : "" }),
    svg("g", { "clip-path": `url(#${id})` }, ...regions.filter((region) => signs.get(region.id)).map((region) => svg("path", { class: `tint ${hue(region.id)}`, d: region.outline, "fill-opacity": 0.6 }))));
}
