// Computes masks beside the page: onnxruntime-web runs the graphs of the model that answers, in the steps of
// model/runtime/onnx.py. A photo is encoded once; the last one is kept. Knows no page.
import * as ort from "onnxruntime-web/wasm";
import { type Node, parse } from "../expression";
import { decodeRle, encodeRle } from "../rle";
import type { Asked, Click, Drawn, Graphs, Look, Order, Photo, Told, Words } from "./messages";
import { type Mask, boxed, cells, look, toPhoto } from "./masks";
import { type Picture, view } from "./pixels";

type Tensors = Record<string, ort.Tensor>;
const [OUTSIDE, INSIDE, TOP_LEFT, BOTTOM_RIGHT] = [0, 1, 2, 3];
const sessions = new Map<string, ort.InferenceSession>();
let graphs: Graphs;
let seen: { id: string; features: Tensors; tokens: Map<string, Float32Array>; seconds: number } | null = null;

const say = (told: Told): void => postMessage(told);
const floats = (data: Float32Array, dims: number[]): ort.Tensor => new ort.Tensor("float32", data, dims);

// Files

async function bytes(url: string, arrived: (count: number) => void): Promise<Uint8Array> {
  const answer = await fetch(url, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(answer.status === 404 ? "the server has graphs of another version: reload the page" : `the server answered with status ${answer.status}`);
  const parts: Uint8Array[] = [];
  let count = 0;
  const reader = answer.body!.getReader();
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    parts.push(value!);
    count += value!.length;
    arrived(value!.length);
  }
  const whole = new Uint8Array(count);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function start(order: Extract<Order, { kind: "start" }>): Promise<void> {
  graphs = order.graphs;
  ort.env.wasm.wasmPaths = { mjs: `${graphs.engine}ort-wasm-simd-threaded.mjs`, wasm: `${graphs.engine}ort-wasm-simd-threaded.wasm` };
  ort.env.wasm.numThreads = order.threads;
  ort.env.logLevel = "error";
  const sizes = new Map(Object.values(graphs.parts).flat().map((file) => [file.name, file.bytes])); // parts may share their weights
  const all = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  let loaded = 0;
  const arrived = (count: number): void => say({ id: 0, kind: "progress", loaded: (loaded += count), all });
  const content = new Map<string, Uint8Array>();
  for (const name of sizes.keys()) content.set(name, await bytes(`/api/v1/graphs/${graphs.weights}/${name}`, arrived));
  for (const [part, [graph, ...beside]] of Object.entries(graphs.parts)) {
    const externalData = beside.map(({ name }) => ({ path: name, data: content.get(name)! }));
    sessions.set(part, await ort.InferenceSession.create(content.get(graph!.name)!, { executionProviders: ["wasm"], externalData }));
  }
}

async function run(part: string, given: Tensors): Promise<Tensors> {
  const session = sessions.get(part)!;
  return await session.run(Object.fromEntries(session.inputNames.map((name) => [name, given[name]!])));
}

// The photo

async function picture(photo: Photo): Promise<Picture> {
  const image = await createImageBitmap(new Blob([await bytes(photo.url, () => {}) as BlobPart]), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = photo;
  if (image.width !== width || image.height !== height) throw new Error(`expected a photo of ${width} x ${height} pixels, got ${image.width} x ${image.height}`);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "#070b0d";
  context.fillRect(0, 0, 1, 1);
  if (context.getImageData(0, 0, 1, 1).data.join() !== "7,11,13,255") throw new Error("the browser changes what it shows of pictures");
  context.drawImage(image, 0, 0);
  image.close();
  const rgb = new Uint8Array(3 * width * height);
  const rows = Math.max(1, Math.floor(4_000_000 / width));
  for (let top = 0; top < height; top += rows) {
    const { data } = context.getImageData(0, top, width, Math.min(rows, height - top));
    for (let from = 0, to = 3 * top * width; from < data.length; from += 4, to += 3) {
      rgb[to] = data[from]!;
      rgb[to + 1] = data[from + 1]!;
      rgb[to + 2] = data[from + 2]!;
    }
  }
  return { width, height, rgb };
}

async function read(photo: Photo): Promise<number> {
  if (seen?.id === photo.id) return seen.seconds;
  const begun = performance.now();
  const shown = await picture(photo);
  const given: Tensors = {};
  for (const name of ["detail", "semantic"] as const) {
    const side = graphs.config[`${name}_size`];
    given[name] = floats(view(shown, side), [1, 3, side, side]);
  }
  const features = await run("image", given);
  seen = { id: photo.id, features, tokens: new Map(), seconds: (performance.now() - begun) / 1000 };
  return seen.seconds;
}

// A click

async function click(order: Click): Promise<Drawn> {
  await read(order.photo);
  const begun = performance.now();
  const { features } = seen!;
  const { width, height } = order.photo;
  const masks = new Map(Object.entries(order.masks).map(([id, rle]) => [Number(id), { width, height, bits: decodeRle(rle) } as Mask]));
  const side = graphs.config.detail_size / 4;
  const old = masks.get(order.region);
  const shown = old ? cells(old, side) : new Float32Array(side * side);
  const made = await run("region", {
    ...features, ...states(order.words), memory: await memory(order, masks),
    shown: floats(shown, [1, 1, side, side]), points: prompt(order),
    has_mask: new ort.Tensor("bool", Uint8Array.of(old?.bits.includes(1) ? 1 : 0), [1]),
  });
  const logits = made["logits"]!.data as Float32Array;
  const candidates = Array.from({ length: logits.length / side ** 2 }, (_, at) => logits.subarray(at * side ** 2, (at + 1) * side ** 2));
  const [slope, shift] = graphs.config.score_calibration as [number, number];
  const rated = Array.from(made["iou"]!.data as Float32Array, (iou) => 1 / (1 + Math.exp(-(slope * iou + shift))));
  let index = order.dots.length > 0 ? rated.indexOf(Math.max(...rated)) : 0;
  let mask: Mask;
  if (order.box) ({ mask, index } = boxed(candidates, side, order.box, { width, height }, order.dots, index));
  else mask = toPhoto(candidates[index]!, side, { width, height });
  masks.set(order.region, mask);
  const region = looked(mask);
  const selected = order.expression === String(order.region) ? region : looked(chosen(parse(order.expression), masks, width, height));
  return { region, selection: selected, score: rated[index]!, seconds: (performance.now() - begun) / 1000 };
}

const looked = (mask: Mask): Look => ({ ...look(mask), rle: encodeRle(mask.bits, mask.height, mask.width) });

function chosen(node: Node | null, masks: Map<number, Mask>, width: number, height: number): Mask {
  const bits = (one: Node): Uint8Array => {
    if (one.kind === "region") return masks.get(one.id)?.bits ?? new Uint8Array(width * height);
    if (one.kind === "not") return bits(one.of).map((bit) => 1 - bit);
    const [left, right] = [bits(one.left), bits(one.right)];
    return left.map((bit, at) => (one.sign === "+" ? bit | right[at]! : one.sign === "&" ? bit & right[at]! : bit & (1 - right[at]!)));
  };
  return { width, height, bits: node === null ? new Uint8Array(width * height) : bits(node) };
}

/** States (S, E) of the words, and which of them count. */
function states({ span }: Words): Tensors {
  const input = sessions.get("region")!.inputMetadata.find((one) => one.name === "span");
  const wide = input?.isTensor ? Number(input.shape[1]) : 0;
  if (span === null) return { span: floats(new Float32Array(wide), [1, wide]), words: new ort.Tensor("bool", Uint8Array.of(0), [1]) };
  if (span.shape[1] !== wide) throw new Error("the server has graphs of another version: reload the page");
  const content = Uint8Array.from(atob(span.data), (letter) => letter.charCodeAt(0));
  return {
    span: floats(new Float32Array(content.buffer), span.shape),
    words: new ort.Tensor("bool", new Uint8Array(span.shape[0]!).fill(1), [span.shape[0]!]),
  };
}

/** Mask tokens (M, D) of the other regions, each computed once for each mask. */
async function memory({ words, masks: given }: Click, masks: Map<number, Mask>): Promise<ort.Tensor> {
  const { features, tokens } = seen!;
  const side = graphs.config.detail_size / 4;
  const found: Float32Array[] = [];
  let wide = 0;
  for (const id of words.memory) {
    const [mask, key] = [masks.get(id), given[id]?.counts ?? ""];
    if (!mask) continue;
    if (!tokens.has(key)) {
      const made = (await run("mask_tokens", { ...features, masks: floats(cells(mask, side), [1, 1, side, side]) }))["tokens"]!;
      tokens.set(key, made.data as Float32Array);
    }
    found.push(tokens.get(key)!);
  }
  const input = sessions.get("region")!.inputMetadata.find((one) => one.name === "memory");
  wide = input?.isTensor ? Number(input.shape[1]) : 0;
  const whole = new Float32Array(found.reduce((sum, one) => sum + one.length, 0));
  found.reduce((at, one) => { whole.set(one, at); return at + one.length; }, 0);
  return floats(whole, [whole.length / wide, wide]);
}

/** Points and the corners of a box, (Q, 3): x and y in 0..1, and what each is. */
function prompt({ dots, box, photo }: Click): ort.Tensor {
  const rows = dots.map(({ x, y, label }) => [x / photo.width, y / photo.height, label === 1 ? INSIDE : OUTSIDE]);
  if (box) rows.push([box[0] / photo.width, box[1] / photo.height, TOP_LEFT], [box[2] / photo.width, box[3] / photo.height, BOTTOM_RIGHT]);
  return floats(Float32Array.from(rows.flat()), [rows.length, 3]);
}

// Orders, one at a time

let queue = Promise.resolve();

async function obey({ id, order }: Asked): Promise<void> {
  try {
    const value = order.kind === "start" ? await start(order) : order.kind === "read" ? await read(order.photo) : await click(order.click);
    say({ id, kind: "done", value });
  } catch (error) {
    say({ id, kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
}

onmessage = (event: MessageEvent<Asked>): void => { queue = queue.then(() => obey(event.data)); };
