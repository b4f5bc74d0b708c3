// The shapes of docs/api.md. Pixels are those of the upright photo: x to the right, y down, boxes half-open XYXY.

export interface Session { auth: "none" | "token"; signed_in: boolean; csrf: string | null }
export interface Sample { name: string; what: string; width: number; height: number; credit: string; image_url: string }
export interface Photo {
  id: string; name: string; width: number; height: number; bytes: number; created: string; sample: string | null;
  image_url: string; preview_url: string; thumbnail_url: string;
}
export type Box = [number, number, number, number];
export interface Rle { size: [number, number]; counts: string }
export interface Alternative { phrase: string; chance: number }
export interface Region {
  id: number; phrase: string; score: number | null; operator: "replace" | "add" | "cut" | "except"; again: boolean;
  turn: number; area: number; box: Box | null; outline: string; rle: Rle; alternatives: Alternative[]; mask_url: string;
}
export interface Selection {
  expression: string; label: string; area: number; box: Box | null; outline: string; rle: Rle;
  added: number[]; left_out: number[]; mask_url: string | null; overlay_url: string | null;
}
export interface Seconds { prefill: number; generate: number; segment: number; total: number; encode: number; wait: number }
export interface Piece { text: string; region: number | null }
export interface Turn {
  turn: number; key: string; kind: "exchange" | "refinement" | "pointing" | "selection"; user: string; text: string; pieces: Piece[];
  regions: Region[]; operators: string[]; selection: Selection; certainty: number | null; unsure: boolean;
  seconds: Seconds; tokens: number; created: string;
}
export interface Summary {
  id: string; title: string; turns: number; state: "idle" | "running" | "open"; created: string; updated: string;
  parent: { conversation: string; turns: number } | null; photo: Photo;
}
export interface Conversation extends Summary {
  history: Turn[]; regions: Region[]; selection: Selection; open: { text: string; since: string } | null;
}
export interface Limits { photo_bytes: number; photo_pixels: number; text_characters: number; turns: number; model: string; retention_days: number | null }
export interface Problem {
  type: string; title: string; status: number; detail: string; expected?: string; got?: string; cure?: string; field?: string | null;
  request?: string;
}
export interface Stroke { path: [number, number][]; label: 0 | 1; width: number }
export interface Dot { x: number; y: number; label: 0 | 1 }
export interface SheetSummary { name: string; rater: string; title: string; items: number; done: number }
export interface Rated { answers: Record<string, string>; comment: string }
export interface Question { name: string; text: string; kind: "scale" | "choice"; note: string; answers: { value: string; words: string }[] }
export interface SheetTurn { user: string; meant: string; answers: { side: string; text: string; picture: string | null; note: string }[] }
export interface SheetItem extends Rated { id: string; photo: string; turns: SheetTurn[]; target?: { text: string; picture: string } }
export interface Sheet {
  name: string; rater: string; title: string; intro: string[]; comments: boolean; questions: Question[]; items: SheetItem[];
}
export interface Refine {
  region: number | null; points?: Dot[] | null; box?: Box | null; strokes?: Stroke[] | null; paint?: boolean; mask?: { rle: Rle };
}
