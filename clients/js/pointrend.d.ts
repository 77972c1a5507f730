/** A picture that the service keeps: `kept` of an answer to a request with `keep`. `boxes` of it are segmented. */
export interface Kept {
  kept: string;
}

/** The bytes of an image file: a Blob or File, an ArrayBuffer, or its view, such as a Buffer of Node; or a kept one. */
export type Picture = Blob | ArrayBuffer | ArrayBufferView | Kept;

/** x0, y0, x1, y1 in pixels of the picture, and perhaps the name of a class. */
export type Box = [number, number, number, number] | [number, number, number, number, string];

/** The parameters of POST /segment. README.md of the service explains each. */
export interface Parameters {
  model?: string;
  /** `native`, or the side of masks; of a label map its height. */
  resolution?: "native" | number;
  /** `auto`, or points per level. */
  points?: "auto" | number;
  score?: number;
  max_instances?: number;
  /** Names; a list is sent with commas. */
  classes?: string | readonly string[];
  boxes?: string | readonly Box[];
  explain?: boolean;
  /** Seconds for which the picture is kept for `render`, and for further boxes (`Kept`). */
  keep?: number;
  deadline_ms?: number;
  format?: string;
  image_id?: number;
  /** Of format `cutout`: the only instance to show, counted from 0. */
  instance?: number;
  /** Of format `cutout`: show the objects' extent alone. */
  crop?: boolean;
}

/** A mask as COCO's run lengths; `size` is height and width of the picture. */
export interface Segmentation {
  size: [number, number];
  counts: string | number[];
}

/** Where a mask comes from, with `explain: true`. */
export interface Explanation {
  /** The mask that it was rendered from, row by row. */
  coarse: { side: number; probabilities: number[] };
  /** `cells`: base64 of 32-bit numbers, the least significant byte first; null: all cells of the level. */
  levels: { side: number; points: number; cells: string | null }[];
}

export interface Instance {
  category: string;
  category_id: number;
  score: number;
  /** x, y, width, height in pixels of the picture. */
  bbox: [number, number, number, number];
  area: number;
  /** The side of the mask in its box. */
  resolution: number;
  points: "auto" | number;
  truncated: boolean;
  segmentation: Segmentation;
  explain?: Explanation;
}

/** All pixels of one class, of a semantic model. */
export interface Segment {
  category: string;
  category_id: number;
  area: number;
  segmentation: Segmentation;
}

/** An answer: `instances` of an instance model, `segments` of a semantic one. */
export interface Answer {
  id: string;
  model: string;
  width: number;
  height: number;
  degraded: boolean;
  instances?: Instance[];
  segments?: Segment[];
  /** The id of the kept picture, if `keep` asked for it; null if there was no room. */
  kept?: string | null;
  timings_ms: Record<string, number>;
}

/** A window of an instance of a kept picture: the parameters of POST /render. */
export interface View {
  /** `kept` of the answer. */
  id: string;
  instance: number;
  /** x0, y0, x1, y1 in pixels of the picture. */
  window: readonly [number, number, number, number];
  width: number;
  height: number;
  points?: "auto" | number;
  deadline_ms?: number;
}

/** The masks of a stream when all have reached a side. */
export interface Level {
  event: "level";
  side: number;
  model: string;
  width: number;
  height: number;
  instances?: Instance[];
  segments?: Segment[];
}

/** The last line of a stream: the whole answer. */
export type Done = Answer & { event: "done" };

export interface Model {
  name: string;
  task: "instance" | "semantic";
  ready: boolean;
  categories: { id: number; name: string }[];
  [more: string]: unknown;
}

export interface Options {
  /** Sent as X-API-Key. */
  apiKey?: string | null;
  /** For how long a request that may succeed later is sent again; 600. 0: not at all. */
  retrySeconds?: number;
  /** Used in place of the global one. */
  fetch?: typeof globalThis.fetch;
}

export interface Cancelling {
  /** Cancels the request; the service stops its work, too. */
  signal?: AbortSignal;
}

/** What the service refused or could not do, in its own words. */
export class ServiceError extends Error {
  /** The status of the answer, or 0 if there was none. */
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly type: string;
  /** The whole application/problem+json. */
  readonly problem: Record<string, unknown>;
  /** Seconds until the service wants to be asked again. */
  readonly retryAfter: number | null;
  /** Whether the same request may succeed later. */
  get mayRetry(): boolean;
}

/** A client of one service. Its methods throw ServiceError. */
export class PointRend {
  constructor(url: string | URL, options?: Options);
  segment(picture: Picture, parameters?: Parameters, options?: Cancelling): Promise<Answer>;
  stream(picture: Picture, parameters?: Parameters, options?: Cancelling): AsyncGenerator<Level | Done, void, void>;
  post(picture: Picture, parameters?: Parameters, options?: Cancelling & { accept?: string }): Promise<Response>;
  /** Return a window as a PNG file whose grey levels are 255 times the probability of each pixel. */
  render(view: View, options?: Cancelling): Promise<Blob>;
  models(options?: Cancelling): Promise<Model[]>;
}

/** Return the run lengths of a mask, down its columns and zeros first. */
export function runLengths(counts: string | number[]): number[];

/** Return a mask's cells, height × width, row by row: 1 inside and 0 outside. */
export function decoded(segmentation: Segmentation): Uint8Array;

/** Return the smallest part of a mask that holds all of it, with its cells row by row. */
export function cropped(segmentation: Segmentation): {
  left: number;
  top: number;
  width: number;
  height: number;
  cells: Uint8Array;
};
