// COCO run lengths, as pycocotools writes them: columns first, runs of 0 and 1 in turns, six bits a letter.
import type { Rle } from "./types";

/** Lengths of the runs, beginning with 0. */
export function runsOf(counts: string): number[] {
  const runs: number[] = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0;
    let shift = 0;
    for (let more = true; more; shift += 5) {
      const code = counts.charCodeAt(at++) - 48;
      if (!(code >= 0 && code < 64)) throw new RangeError("expected COCO run lengths, got another letter");
      value |= (code & 31) << shift;
      more = (code & 32) !== 0;
      if (!more && code & 16) value |= -1 << (shift + 5);
    }
    runs.push(runs.length > 2 ? value + (runs[runs.length - 2] ?? 0) : value);
  }
  return runs;
}

/** The mask as bytes of 0 and 1, rows first, height x width of them. */
export function decodeRle(rle: Rle): Uint8Array {
  const [height, width] = rle.size;
  const mask = new Uint8Array(height * width);
  let at = 0;
  runsOf(rle.counts).forEach((run, index) => {
    if (at + run > mask.length || run < 0) throw new RangeError(`expected ${mask.length} pixels, got more`);
    if (index % 2 === 1)
      for (let pixel = at; pixel < at + run; pixel++) mask[(pixel % height) * width + Math.floor(pixel / height)] = 1;
    at += run;
  });
  if (at !== mask.length) throw new RangeError(`expected ${mask.length} pixels, got ${at}`);
  return mask;
}

/** Whether the mask holds the pixel that a point of the photo lies in. */
export function holds(rle: Rle, x: number, y: number): boolean {
  const [height, width] = rle.size;
  if (x < 0 || y < 0 || x >= width || y >= height) return false;
  const pixel = Math.floor(x) * height + Math.floor(y);
  let at = 0;
  for (const [index, run] of runsOf(rle.counts).entries()) {
    at += run;
    if (pixel < at) return index % 2 === 1;
  }
  return false;
}

/** The run lengths of a mask, bytes of 0 and 1, rows first. */
export function encodeRle(mask: Uint8Array, height: number, width: number): Rle {
  const runs: number[] = [];
  let [run, value] = [0, 0];
  for (let x = 0; x < width; x++)
    for (let y = 0; y < height; y++) {
      if (mask[y * width + x] !== value) {
        runs.push(run);
        [run, value] = [0, 1 - value];
      }
      run++;
    }
  runs.push(run);
  let counts = "";
  runs.forEach((length, index) => {
    let rest = index > 2 ? length - runs[index - 2]! : length;
    for (let more = true; more; ) {
      let code = rest & 31;
      rest >>= 5;
      more = code & 16 ? rest !== -1 : rest !== 0;
      if (more) code |= 32;
      counts += String.fromCharCode(code + 48);
    }
  });
  return { size: [height, width], counts };
}
