import { expect, test } from "vitest";
import { CLOSEST, type View, clamp, fit, pan, pinch, toPhoto, toScreen, viewBox, zoomAt } from "../src/view";

const PHOTO = { width: 600, height: 400 };
const STAGE = { width: 900, height: 632 };

test.each([
  [PHOTO, STAGE, { scale: 868 / 600, x: 16, y: (632 - (400 * 868) / 600) / 2 }],
  [{ width: 400, height: 4000 }, STAGE, { scale: 0.15, x: 420, y: 16 }],
  [{ width: 10, height: 10 }, STAGE, { scale: 3, x: 435, y: 301 }],
])("the whole of %j on %j", (photo, stage, right) => {
  const view = fit(photo, stage);
  for (const key of ["scale", "x", "y"] as const) expect(view[key]).toBeCloseTo(right[key], 9);
});

test("margins keep bars off the photo", () => {
  const view = fit(PHOTO, STAGE, { side: 0, top: 100, bottom: 132 });
  expect(view).toEqual({ scale: 1, x: 150, y: 100 });
});

test.each([1.25, 0.8, 4])("zoom by %f keeps the point under the pointer", (factor) => {
  const spot = { x: 500, y: 300 };
  const view = fit(PHOTO, STAGE);
  const next = zoomAt(view, factor, spot, PHOTO, STAGE);
  if (factor > 1) {
    expect(next.scale).toBeCloseTo(view.scale * factor, 9);
    expect(toPhoto(next, spot).x).toBeCloseTo(toPhoto(view, spot).x, 9);
    expect(toPhoto(next, spot).y).toBeCloseTo(toPhoto(view, spot).y, 9);
  } else expect(next.scale).toBeLessThan(view.scale);
});

test("zoom ends", () => {
  const spot = { x: 1, y: 1 };
  expect(zoomAt(fit(PHOTO, STAGE), 1e9, spot, PHOTO, STAGE).scale).toBe(CLOSEST);
  expect(zoomAt(fit(PHOTO, STAGE), 1e-9, spot, PHOTO, STAGE).scale).toBeCloseTo(fit(PHOTO, STAGE).scale / 2, 9);
});

test("to the screen and back", () => {
  const view: View = { scale: 2.5, x: -40, y: 13 };
  expect(toPhoto(view, toScreen(view, { x: 12.5, y: 7 }))).toEqual({ x: 12.5, y: 7 });
});

test("no pan loses the photo", () => {
  let view = zoomAt(fit(PHOTO, STAGE), 4, { x: 450, y: 316 }, PHOTO, STAGE);
  for (const [dx, dy] of [[1e6, 1e6], [-1e6, -1e6]] as const) {
    view = pan(view, dx, dy, PHOTO, STAGE);
    const middle = toPhoto(view, { x: 450, y: 316 });
    expect(middle.x).toBeGreaterThanOrEqual(0);
    expect(middle.x).toBeLessThanOrEqual(PHOTO.width);
    expect(middle.y).toBeGreaterThanOrEqual(0);
    expect(middle.y).toBeLessThanOrEqual(PHOTO.height);
  }
  expect(clamp({ scale: 1, x: -500, y: 900 }, PHOTO, STAGE)).toEqual({ scale: 1, x: 0, y: 232 });
});

test("two fingers hold their points", () => {
  const view = fit(PHOTO, STAGE);
  const from = [{ x: 400, y: 300 }, { x: 500, y: 300 }] as [{ x: number; y: number }, { x: number; y: number }];
  const to = [{ x: 380, y: 310 }, { x: 580, y: 310 }] as typeof from;
  const next = pinch(view, from, to, PHOTO, STAGE);
  expect(next.scale).toBeCloseTo(view.scale * 2, 9);
  for (const finger of [0, 1] as const) {
    expect(toPhoto(next, to[finger]).x).toBeCloseTo(toPhoto(view, from[finger]).x, 9);
    expect(toPhoto(next, to[finger]).y).toBeCloseTo(toPhoto(view, from[finger]).y, 9);
  }
});

test("the view box of an SVG", () => expect(viewBox({ scale: 2, x: 100, y: -50 }, { width: 800, height: 600 })).toBe("-50.0000 25.0000 400.0000 300.0000"));
