// Where the photo lies on the stage: screen = photo * scale + offset. Numbers only, no page.

export interface View { scale: number; x: number; y: number }
export interface Size { width: number; height: number }
export interface Spot { x: number; y: number }

/** The largest zoom, in screen pixels a photo pixel. */
export const CLOSEST = 32;

export interface Margins { side: number; top: number; bottom: number }

/** The whole photo in the middle of what the margins leave. Small photos are enlarged threefold at most. */
export function fit(photo: Size, stage: Size, margins: Margins = { side: 16, top: 16, bottom: 16 }): View {
  const { side, top, bottom } = margins;
  const room = { width: Math.max(1, stage.width - 2 * side), height: Math.max(1, stage.height - top - bottom) };
  const scale = Math.min(room.width / photo.width, room.height / photo.height, 3);
  return { scale, x: (stage.width - photo.width * scale) / 2, y: top + (room.height - photo.height * scale) / 2 };
}

export function toPhoto(view: View, spot: Spot): Spot {
  return { x: (spot.x - view.x) / view.scale, y: (spot.y - view.y) / view.scale };
}

export function toScreen(view: View, spot: Spot): Spot {
  return { x: spot.x * view.scale + view.x, y: spot.y * view.scale + view.y };
}

/** Closer by a factor, with the photo's point under `spot` staying there. */
export function zoomAt(view: View, factor: number, spot: Spot, photo: Size, stage: Size): View {
  const least = fit(photo, stage).scale * 0.5;
  const scale = Math.min(CLOSEST, Math.max(least, view.scale * factor));
  const point = toPhoto(view, spot);
  return clamp({ scale, x: spot.x - point.x * scale, y: spot.y - point.y * scale }, photo, stage);
}

export function pan(view: View, dx: number, dy: number, photo: Size, stage: Size): View {
  return clamp({ ...view, x: view.x + dx, y: view.y + dy }, photo, stage);
}

/** Two fingers: the photo's points under them stay under them, but for turning. */
export function pinch(view: View, from: [Spot, Spot], to: [Spot, Spot], photo: Size, stage: Size): View {
  const gap = (pair: [Spot, Spot]): number => Math.hypot(pair[0].x - pair[1].x, pair[0].y - pair[1].y);
  const middle = (pair: [Spot, Spot]): Spot => ({ x: (pair[0].x + pair[1].x) / 2, y: (pair[0].y + pair[1].y) / 2 });
  const [before, after] = [middle(from), middle(to)];
  const moved = { ...view, x: view.x + after.x - before.x, y: view.y + after.y - before.y };
  return zoomAt(moved, gap(to) / Math.max(1, gap(from)), after, photo, stage);
}

/** A photo that is smaller than the stage stays wholly on it; a larger one leaves at most half of the stage empty. */
export function clamp(view: View, photo: Size, stage: Size): View {
  const along = (offset: number, length: number, room: number): number => {
    if (length <= room) return Math.min(room - length, Math.max(0, offset));
    return Math.min(room / 2, Math.max(room / 2 - length, offset));
  };
  return {
    scale: view.scale,
    x: along(view.x, photo.width * view.scale, stage.width),
    y: along(view.y, photo.height * view.scale, stage.height),
  };
}

/** The `viewBox` of an SVG as large as the stage that shows the photo so. */
export function viewBox(view: View, stage: Size): string {
  const corner = toPhoto(view, { x: 0, y: 0 });
  return [corner.x, corner.y, stage.width / view.scale, stage.height / view.scale].map((n) => n.toFixed(4)).join(" ");
}
