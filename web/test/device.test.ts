// Numbers as Pillow and the server make them.
import { expect, test } from "vitest";
import { look } from "../src/device/masks";
import { resized } from "../src/device/pixels";

// Image.resize((side, side), BILINEAR, reducing_gap=3.0) of a picture whose bytes are (7 * n * n) % 251
test.each([
  [3, 2, 2, [24, 46, 83, 24, 100, 189, 42, 191, 103, 45, 89, 53]],
  [13, 7, 2, [103, 132, 137, 110, 131, 117, 131, 126, 108, 117, 121, 86]],
])("%i x %i to %i", (width, height, side, bytes) => {
  const rgb = Uint8Array.from({ length: 3 * width * height }, (_, at) => (7 * at * at) % 251);
  expect([...resized({ width, height, rgb }, side).rgb]).toEqual(bytes);
});

test.each([
  ["one pixel", 3, 2, "010000", 1, [1, 0, 2, 1], "M1 0H2V1H1Z"],
  ["nothing", 2, 2, "0000", 0, null, ""],
  ["a hole", 3, 3, "111101111", 8, [0, 0, 3, 3], "M0 0H3V3H0ZM1 2H2V1H1Z"],
  ["two that touch", 2, 2, "1001", 2, [0, 0, 2, 2], "M0 0H1V1H0ZM1 1H2V2H1Z"],
])("the look of %s", (_, width, height, rows, area, box, outline) => {
  expect(look({ width, height, bits: Uint8Array.from([...rows], Number) })).toEqual({ area, box, outline });
});
