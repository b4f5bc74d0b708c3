// What the page and the worker that computes say to each other.
import type { Box, Dot, Rle } from "../types";

export interface Graphs {
  weights: string; engine: string; parts: Record<string, { name: string; bytes: number }[]>;
  config: { detail_size: number; semantic_size: number; score_calibration: number[] };
}
export interface Words { region: number | null; span: { shape: number[]; data: string } | null; memory: number[] }
export interface Look { area: number; box: Box | null; outline: string; rle: Rle }
export interface Photo { id: string; url: string; width: number; height: number }
/** masks: of every region, by id. region: the one that is changed; one that is not among the masks is new. */
export interface Click {
  photo: Photo; dots: Dot[]; box: Box | null; words: Words; masks: Record<number, Rle>; region: number; expression: string;
}
export interface Drawn { region: Look; selection: Look; score: number; seconds: number }
export type Order =
  | { kind: "start"; graphs: Graphs; threads: number }
  | { kind: "read"; photo: Photo }
  | { kind: "click"; click: Click };
export interface Asked { id: number; order: Order }
export type Told =
  | { id: number; kind: "done"; value: unknown }
  | { id: number; kind: "failed"; message: string }
  | { id: 0; kind: "progress"; loaded: number; all: number };
