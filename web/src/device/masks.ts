// Masks between photo and view, and what a drawn box makes of them: as model/numeric/views.py and model/boxed.py.
// Numbers only, no page. A mask is bytes of 0 and 1, rows first.
import type { Box, Dot } from "../types";

export interface Mask { width: number; height: number; bits: Uint8Array }
export interface Size { width: number; height: number }

const f = Math.fround;

/** (side, side) float32: the covered share of each cell; of photos smaller than that bilinear between pixels. */
export function cells(mask: Mask, side: number): Float32Array {
  if (Math.min(mask.width, mask.height) >= side) return shares(mask, side);
  return bilinear(Float32Array.from(mask.bits), mask.width, mask.height, side, side);
}

const low = (cell: number, length: number, side: number): number => Math.floor((cell * length) / side);
const high = (cell: number, length: number, side: number): number => Math.ceil(((cell + 1) * length) / side);

function shares({ width, height, bits }: Mask, side: number): Float32Array {
  const found = new Float32Array(side * side);
  const sums = new Int32Array(width + 1);
  for (let y = 0; y < side; y++) {
    const [top, bottom] = [low(y, height, side), high(y, height, side)];
    sums.fill(0);
    for (let row = top; row < bottom; row++)
      for (let x = 0, at = row * width; x < width; x++) sums[x + 1] = sums[x + 1]! + bits[at + x]!;
    for (let x = 0; x < width; x++) sums[x + 1] = sums[x + 1]! + sums[x]!;
    for (let x = 0; x < side; x++) {
      const [left, right] = [low(x, width, side), high(x, width, side)];
      found[y * side + x] = f(f((sums[right]! - sums[left]!) / (bottom - top)) / (right - left));
    }
  }
  return found;
}

interface Steps { low: Int32Array; next: Int32Array; weight: Float32Array }

/** For each of `wanted` pixel centres the two samples beside it, and the weight of the second. */
function steps(length: number, wanted: number): Steps {
  const found = { low: new Int32Array(wanted), next: new Int32Array(wanted), weight: new Float32Array(wanted) };
  const scale = f(length / wanted);
  for (let at = 0; at < wanted; at++) {
    const place = Math.max(f(f(scale * f(at + 0.5)) - 0.5), 0);
    found.low[at] = Math.min(Math.trunc(place), length - 1);
    found.next[at] = Math.min(found.low[at]! + 1, length - 1);
    found.weight[at] = Math.min(Math.max(place - found.low[at]!, 0), 1);
  }
  return found;
}

function bilinear(values: Float32Array, width: number, height: number, wide: number, tall: number): Float32Array {
  const found = new Float32Array(wide * tall);
  each(values, width, height, wide, tall, (at, value) => { found[at] = value; });
  return found;
}

function each(
  values: Float32Array, width: number, height: number, wide: number, tall: number, take: (at: number, value: number) => void,
): void {
  const [down, across] = [steps(height, tall), steps(width, wide)];
  const row = (y: number): Float32Array => {
    const made = new Float32Array(wide);
    for (let x = 0; x < wide; x++) {
      const weight = across.weight[x]!;
      made[x] = f(f(1 - weight) * values[y * width + across.low[x]!]!) + f(weight * values[y * width + across.next[x]!]!);
    }
    return made;
  };
  const rows = new Map<number, Float32Array>();
  const kept = (y: number): Float32Array => {
    const known = rows.get(y) ?? row(y);
    rows.set(y, known);
    if (rows.size > 2) for (const old of rows.keys()) if (old < y - 1) rows.delete(old);
    return known;
  };
  for (let y = 0; y < tall; y++) {
    const [first, second, weight] = [kept(down.low[y]!), kept(down.next[y]!), down.weight[y]!];
    const above = f(1 - weight);
    for (let x = 0; x < wide; x++) take(y * wide + x, f(f(above * first[x]!) + f(weight * second[x]!)));
  }
}

/** Mask logits (side, side) as a mask of the photo: bilinear, then > 0. level: what counts as 0. */
export function toPhoto(logits: Float32Array, side: number, size: Size, level = 0): Mask {
  const bits = new Uint8Array(size.width * size.height);
  const shifted = level === 0 ? logits : logits.map((value) => value - level);
  each(shifted, side, side, size.width, size.height, (at, value) => { if (value > 0) bits[at] = 1; });
  return { ...size, bits };
}

const LEVELS = [0, -0.5, 0.5, -1, 1, -1.5, 1.5, -2, 2, -3];
const EQUAL = 1e-3;

/** As Python rounds: halves to the even number. */
const round = (value: number): number => {
  const whole = Math.floor(value);
  return value - whole === 0.5 ? whole + (whole % 2 === 0 ? 0 : 1) : Math.round(value);
};

function span(from: number, to: number, side: number): [number, number] {
  const first = Math.min(Math.max(round(from), 0), side - 1);
  return [first, Math.max(first + 1, Math.min(round(to), side))];
}

/** The mask inside a drawn box that spans it best, of all candidates (side, side) cut at several levels. */
export function boxed(candidates: Float32Array[], side: number, box: Box, size: Size, dots: Dot[], best: number): { mask: Mask; index: number } {
  const inside = (dot: Dot): boolean => box[0] <= dot.x && dot.x <= box[2] && box[1] <= dot.y && dot.y <= box[3];
  if (dots.some((dot) => dot.label === 1 && !inside(dot))) return { mask: toPhoto(candidates[best]!, side, size), index: best };
  const frame: Box = [(box[0] * side) / size.width, (box[1] * side) / size.height, (box[2] * side) / size.width, (box[3] * side) / size.height];
  const [top, bottom] = span(frame[1], frame[3], side);
  const [left, right] = span(frame[0], frame[2], side);
  const order = [best, ...candidates.keys()].filter((one, at, all) => all.indexOf(one) === at);
  let found: { broken: number; fit: number; index: number; level: number } | null = null;
  for (const level of LEVELS)
    for (const index of order) {
      const logits = candidates[index]!;
      const holds = (x: number, y: number): boolean => x >= left && x < right && y >= top && y < bottom && logits[y * side + x]! > level;
      const broken = dots.filter((dot) => holds(
        Math.min(Math.trunc((dot.x * side) / size.width), side - 1), Math.min(Math.trunc((dot.y * side) / size.height), side - 1),
      ) !== (dot.label === 1)).length;
      const fit = fits(holds, frame, [left, top, right, bottom]);
      if (found === null || broken < found.broken || (broken === found.broken && fit > found.fit + EQUAL)) found = { broken, fit, index, level };
    }
  const { index, level } = found!;
  const mask = toPhoto(candidates[index]!, side, size, level);
  const [first, last] = span(box[1], box[3], size.height);
  const [start, end] = span(box[0], box[2], size.width);
  for (let y = 0; y < size.height; y++)
    for (let x = 0; x < size.width; x++) if (y < first || y >= last || x < start || x >= end) mask.bits[y * size.width + x] = 0;
  return { mask, index };
}

/** IoU of the mask's own box with the frame; 0 for no mask. */
function fits(holds: (x: number, y: number) => boolean, frame: Box, bounds: Box): number {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let y = bounds[1]; y < bounds[3]; y++)
    for (let x = bounds[0]; x < bounds[2]; x++) if (holds(x, y)) {
      [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
    }
  if (right < left) return 0;
  const both = Math.max(0, Math.min(right, frame[2]) - Math.max(left, frame[0])) * Math.max(0, Math.min(bottom, frame[3]) - Math.max(top, frame[1]));
  return both / ((right - left) * (bottom - top) + (frame[2] - frame[0]) * (frame[3] - frame[1]) - both);
}

/** What a mask looks like: area, box, outline as the `d` of a path, to be filled even-odd. */
export function look(mask: Mask): { area: number; box: Box | null; outline: string } {
  const { width, height, bits } = mask;
  const at = (x: number, y: number): boolean => x >= 0 && y >= 0 && x < width && y < height && bits[y * width + x] === 1;
  const seen = new Uint8Array(width * height);
  let [area, left, top, right, bottom, outline] = [0, Infinity, Infinity, -1, -1, ""];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      if (!at(x, y)) continue;
      area++;
      [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
      if (!at(x, y - 1) && seen[y * width + x] === 0) outline += ring(at, seen, width, x, y);
    }
  return { area, box: area === 0 ? null : [left, top, right, bottom], outline };
}

/** The edge that begins at the upper left corner of a pixel; the mask lies to the right. Parts that touch at a corner stay apart. */
function ring(at: (x: number, y: number) => boolean, seen: Uint8Array, width: number, x0: number, y0: number): string {
  let [x, y, dx, dy, path] = [x0, y0, 1, 0, `M${x0} ${y0}`];
  do {
    if (dx === 1) seen[y * width + x] = 1;
    [x, y] = [x + dx, y + dy];
    const right = at(x + (dx - dy - 1) / 2, y + (dy + dx - 1) / 2);
    const left = at(x + (dx + dy - 1) / 2, y + (dy - dx - 1) / 2);
    const turn = !right ? 1 : left ? -1 : 0;
    if (turn !== 0) {
      path += dx !== 0 ? `H${x}` : `V${y}`;
      [dx, dy] = turn === 1 ? [-dy, dx] : [dy, -dx];
    }
  } while (x !== x0 || y !== y0 || dx !== 1);
  return `${path.slice(0, path.lastIndexOf("V"))}Z`; // the last side closes it
}
