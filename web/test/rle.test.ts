// Strings as pycocotools writes them.
import { expect, test } from "vitest";
import { decodeRle, encodeRle, holds, runsOf } from "../src/rle";

const KNOWN: [size: [number, number], counts: string, rows: string][] = [
  [[1, 1], "01", "1"],
  [[1, 1], "1", "0"],
  [[3, 5], "1230N00O00", "001111011010001"],
  [[7, 4], "81200000O00000001", "0011010000010010010100100000"],
  [[16, 9], "01150L020M0`00A021NOO0002000O0601030L0K030N0N0O0309",
    "101011111011111111101010110111111101110011111111111111111111111110111111011001001111111111111111111011111101110011011110111101111111111111010111"],
];

test.each(KNOWN)("%j %s", (size, counts, rows) => {
  const mask = decodeRle({ size, counts });
  expect([...mask].join("")).toBe(rows);
  expect(encodeRle(mask, ...size)).toEqual({ size, counts });
  for (const [at, letter] of [...rows].entries())
    expect(holds({ size, counts }, (at % size[1]) + 0.5, Math.floor(at / size[1]) + 0.5)).toBe(letter === "1");
});

test("runs longer than a letter holds", () => expect(runsOf("dj7R4V2")).toEqual([8020, 130, 70]));

test.each([["outside on the left", -0.1, 0], ["on the far edge", 5, 0], ["below", 0, 3]])("no mask %s", (_, x, y) =>
  expect(holds({ size: [3, 5], counts: "1230N00O00" }, x, y)).toBe(false));

test.each([["too few pixels", "1"], ["too many", "dj7R4V2"], ["a letter that is none", "1 2"]])("refuses %s", (_, counts) =>
  expect(() => decodeRle({ size: [3, 5], counts })).toThrow(RangeError));
