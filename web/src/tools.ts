// Gestures on the stage, by mouse, touch, pen or keyboard: pan and pinch, points, box, scribble, brush and eraser.
import { announce, svg } from "./dom";
import { notice } from "./notices";
import { current, gestures, move, onScreen, room, scale, shift, spotOf, stage, whole, zoom } from "./stage";
import { aimed, on, refine, shown, state, turnsNow, wield } from "./store";
import type { Box, Dot, Refine, Stroke } from "./types";
import { type Spot, pinch } from "./view";

const STROKES = ["scribble", "brush", "eraser"];
const MOVED = 5;
let dots: Dot[] = [];
let path: Spot[] = [];
let corner: Spot | null = null;
let cursor: Spot | null = null;
let inverted = false;
let sending = false;
const fingers = new Map<number, Spot>();
let from: Spot | null = null;
let panning = false;

const clamped = (spot: Spot): Spot => {
  const photo = state.conversation!.photo;
  return { x: Math.min(Math.max(spot.x, 0), photo.width), y: Math.min(Math.max(spot.y, 0), photo.height) };
};
const inside = (spot: Spot): boolean => { const at = clamped(spot); return at.x === spot.x && at.y === spot.y; };
const sign = (): 0 | 1 => {
  if (state.tool === "brush") return 1;
  if (state.tool === "eraser") return 0;
  return inverted ? (state.sign === 1 ? 0 : 1) : state.sign;
};
const pen = (): number => Math.min(1000, Math.max(1, Math.round((state.pen / scale()) * 10) / 10));
const short = (value: number): number => Math.round(value * 100) / 100;

function forget(): void {
  dots = [];
  path = [];
  corner = null;
  draw();
}

/** The box that spans two corners, on whole pixels. */
function boxOf(a: Spot, b: Spot): Box {
  const [one, two] = [clamped(a), clamped(b)];
  return [Math.floor(Math.min(one.x, two.x)), Math.floor(Math.min(one.y, two.y)), Math.ceil(Math.max(one.x, two.x)), Math.ceil(Math.max(one.y, two.y))];
}

function draw(): void {
  const unit = 1 / scale();
  const parts: SVGElement[] = [];
  for (const dot of dots) {
    parts.push(svg("circle", { class: `dot ${dot.label ? "yes" : "no"}`, cx: dot.x, cy: dot.y, r: 7 * unit }));
    const arm = 3.5 * unit;
    parts.push(svg("path", { class: "dot-sign", d: `M${dot.x - arm} ${dot.y}h${2 * arm}${dot.label ? `M${dot.x} ${dot.y - arm}v${2 * arm}` : ""}` }));
  }
  if (path.length > 0) {
    const d = `M${path.map((spot) => `${short(spot.x)} ${short(spot.y)}`).join("L")}${path.length === 1 ? "h.01" : ""}`;
    parts.push(svg("path", { class: `stroke ${sign() ? "yes" : "no"}`, d, "stroke-width": pen() }));
  }
  const end = cursor ?? corner;
  if (corner && end) {
    const [x1, y1, x2, y2] = boxOf(corner, end);
    parts.push(svg("rect", { class: "frame", x: x1, y: y1, width: x2 - x1, height: y2 - y1 }));
  }
  if (cursor && document.activeElement === stage) {
    const [x, y, arm] = [cursor.x, cursor.y, 12 * unit];
    for (const kind of ["cross-under", "cross"]) parts.push(svg("path", { class: kind, d: `M${x - arm} ${y}h${2 * arm}M${x} ${y - arm}v${2 * arm}` }));
  }
  gestures.replaceChildren(...parts);
}

async function send(gesture: Omit<Refine, "region">): Promise<void> {
  if (state.at !== null) {
    notice("This is an earlier turn. Go back to now, or fork from here, to change a region.");
    return forget();
  }
  sending = true;
  stage.classList.add("working");
  const done = await refine(gesture);
  stage.classList.remove("working");
  sending = false;
  if (gesture.points) {
    if (!done) dots.pop();
  } else forget();
  draw();
}

function addDot(spot: Spot, label: 0 | 1): void {
  if (!inside(spot)) return;
  if (dots.length >= 64) dots = [];
  dots.push({ x: short(Math.min(spot.x, state.conversation!.photo.width - 0.01)), y: short(Math.min(spot.y, state.conversation!.photo.height - 0.01)), label });
  draw();
  void send({ points: dots });
}

function endStroke(): void {
  if (path.length === 0) return;
  const step = Math.ceil(path.length / 1900);
  const points = path.filter((_, index) => index % step === 0 || index === path.length - 1).map(clamped);
  const stroke: Stroke = { path: points.map((spot) => [short(spot.x), short(spot.y)]), label: sign(), width: pen() };
  void send({ strokes: [stroke], paint: state.tool !== "scribble" });
}

function endBox(to: Spot): void {
  const box = boxOf(corner!, to);
  if (box[2] - box[0] < 2 || box[3] - box[1] < 2) return forget();
  void send({ box });
}

// Mouse, touch, pen

function down(event: PointerEvent): void {
  if (event.target instanceof Element && event.target.closest(".tag, .split")) return;
  if (!state.conversation) return;
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  from = { x: event.clientX, y: event.clientY };
  inverted = event.altKey || event.shiftKey || event.button === 2;
  panning = state.tool === "pick" || event.button === 1 || fingers.size > 1;
  if (fingers.size > 1 && !sending) forget();
  cursor = null;
  if (panning || sending) return;
  if (state.tool !== "points") stage.setPointerCapture(event.pointerId);
  if (state.tool === "box") corner = spotOf(event);
  else if (STROKES.includes(state.tool)) path = [spotOf(event)];
  draw();
}

function moved(event: PointerEvent): void {
  const before = fingers.get(event.pointerId);
  if (!before || !from) return;
  const now = { x: event.clientX, y: event.clientY };
  if (fingers.size === 2) {
    const frame = stage.getBoundingClientRect();
    const local = (spot: Spot): Spot => ({ x: spot.x - frame.left, y: spot.y - frame.top });
    const other = [...fingers].find(([id]) => id !== event.pointerId)![1];
    move(pinch(current(), [local(before), local(other)], [local(now), local(other)], state.conversation!.photo, room()));
    fingers.set(event.pointerId, now);
    return;
  }
  const far = Math.hypot(now.x - from.x, now.y - from.y) > MOVED;
  if (panning) {
    if (!far && !stage.hasPointerCapture(event.pointerId)) return;
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("grabbing");
    fingers.set(event.pointerId, now);
    shift(now.x - before.x, now.y - before.y);
  } else if (!sending && corner) {
    cursor = spotOf(event);
    draw();
  } else if (!sending && path.length > 0) {
    const spot = spotOf(event);
    const last = path.at(-1)!;
    if (Math.hypot(spot.x - last.x, spot.y - last.y) * scale() < 1.5) return;
    path.push(spot);
    draw();
  }
}

function up(event: PointerEvent): void {
  const was = fingers.delete(event.pointerId);
  stage.classList.remove("grabbing");
  if (!was || !from || sending) return;
  const far = Math.hypot(event.clientX - from.x, event.clientY - from.y) > MOVED;
  if (panning || event.type === "pointercancel") {
    if (!panning) forget();
    return;
  }
  if (state.tool === "points" && !far) addDot(spotOf(event), sign());
  else if (corner) { cursor = null; endBox(spotOf(event)); }
  else endStroke();
}

// Keyboard: arrows move the photo, or the cross of the tool; Enter is the press.

function press(shifted: boolean): void {
  const spot = cursor!;
  inverted = shifted;
  if (state.tool === "points") addDot(spot, sign());
  else if (state.tool === "box") {
    if (corner) endBox(spot);
    else corner = spot;
    announce(corner ? "First corner set. Move, then Enter." : "Box sent.");
  } else if (path.length > 0) endStroke();
  else {
    path = [spot];
    announce("The stroke begins. Move, then Enter to end it.");
  }
  draw();
}

function key(event: KeyboardEvent): void {
  if (event.target !== stage || !state.conversation || event.ctrlKey || event.metaKey) return;
  const steps: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const step = steps[event.key];
  const length = event.shiftKey ? 48 : event.altKey ? 1 : 12;
  if (step && state.tool === "pick") shift(-step[0] * length * 2, -step[1] * length * 2);
  else if (step) {
    const { width, height } = state.conversation.photo;
    const at = cursor ?? { x: width / 2, y: height / 2 };
    cursor = clamped({ x: at.x + (step[0] * length) / scale(), y: at.y + (step[1] * length) / scale() });
    if (path.length > 0) path.push(cursor);
    const place = onScreen(cursor);
    if (place.x < 0 || place.y < 0 || place.x > room().width || place.y > room().height) shift(-step[0] * 96, -step[1] * 96);
    draw();
  } else if ((event.key === "Enter" || event.key === " ") && state.tool !== "pick") {
    cursor ??= { x: state.conversation.photo.width / 2, y: state.conversation.photo.height / 2 };
    if (!sending) press(event.shiftKey);
  } else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "0") whole();
  else if (event.key === "Escape") { if (path.length > 0 || corner) forget(); else wield({ tool: "pick" }); }
  else return;
  event.preventDefault();
}

export function startTools(): void {
  stage.addEventListener("pointerdown", down);
  stage.addEventListener("pointermove", moved);
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", up);
  stage.addEventListener("contextmenu", (event) => { if (state.tool !== "pick") event.preventDefault(); });
  stage.addEventListener("keydown", key);
  stage.addEventListener("focus", draw);
  stage.addEventListener("blur", () => { cursor = null; draw(); });
  stage.addEventListener("dblclick", (event) => {
    if (state.tool !== "pick" || (event.target as Element).closest("[data-refer]")) return;
    whole();
  });
  stage.addEventListener("wheel", (event) => {
    if (!state.conversation) return;
    event.preventDefault();
    const frame = stage.getBoundingClientRect();
    const delta = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    zoom(Math.exp(-Math.max(-120, Math.min(120, delta)) * (event.ctrlKey ? 0.01 : 0.002)), { x: event.clientX - frame.left, y: event.clientY - frame.top });
  }, { passive: false });
  let tool = "";
  let target: number | null = null;
  let turns = -1;
  let aim: number | null = null;
  on(["tool", "conversation", "view"], () => {
    const count = turnsNow();
    stage.dataset.tool = state.tool;
    const now = state.conversation ? aimed(state.target, shown()!.selection) : null;
    const other = aim !== null && aim !== now; // points are of one region; what was pointed at first becomes one
    if (tool !== state.tool || target !== state.target || count < turns || other) forget();
    else draw();
    [tool, target, turns, aim] = [state.tool, state.target, count, now];
  });
}
