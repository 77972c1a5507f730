/**
 * A client of the PointRend service, for browsers and for Node 18 or newer.
 *
 *     const client = new PointRend("http://127.0.0.1:8000");
 *     const answer = await client.segment(file, { resolution: 224 });
 *     for (const instance of answer.instances) draw(cropped(instance.segmentation));
 *
 * A picture is a Blob (such as the File of an <input>), an ArrayBuffer or its view (such as a Buffer of Node), with the
 * bytes of an image file; or { kept }, the id of a picture that the service keeps, of which `boxes` are segmented.
 * Parameters are those of POST /segment. Types are in pointrend.d.ts.
 */

const AGAIN = new Set([429, 502, 503, 504]);
const LONGEST_WAIT = 10; // seconds between two attempts for which the service named no time

/** What the service refused or could not do, in its own words. `status` is 0 if there was no answer. */
export class ServiceError extends Error {
  constructor(problem, retryAfter = null) {
    const { status = 0, title = "the request failed", detail = "" } = problem;
    super(status ? `${status}: ${detail || title}` : detail || title);
    Object.assign(this, { name: "ServiceError", status, title, detail, type: problem.type ?? "", problem, retryAfter });
  }

  /** Whether the same request may succeed later. */
  get mayRetry() {
    // What stands before the service answers 500 without a type when a replica dies.
    return this.status === 0 || AGAIN.has(this.status) || (this.status === 500 && !this.type);
  }
}

/** A client of one service. */
export class PointRend {
  #url;
  #key;
  #seconds;
  #fetch;

  /**
   * `apiKey` is sent as X-API-Key. A request that failed, but may succeed later, is sent again for `retrySeconds` after
   * the first time, or for a tenth of them if the service does not say when to come back; 0: not at all. `fetch` is used
   * in place of the global one.
   */
  constructor(url, { apiKey = null, retrySeconds = 600, fetch = globalThis.fetch } = {}) {
    this.#url = String(url).replace(/\/*$/, "/");
    this.#key = apiKey;
    this.#seconds = retrySeconds;
    this.#fetch = fetch.bind(globalThis);
  }

  /** Return what is found in a picture, with masks in COCO's compressed run lengths. Throws ServiceError. */
  async segment(picture, parameters = {}, { signal } = {}) {
    return (await this.post(picture, parameters, { signal })).json();
  }

  /**
   * Yield each level of the masks as soon as it is finished, `event: "level"`, and the whole answer, `event: "done"`.
   * Whoever reads slowly gets the newest level. Leaving the loop cancels the request. Throws ServiceError.
   */
  async *stream(picture, parameters = {}, { signal } = {}) {
    const response = await this.post(picture, parameters, { signal, accept: "application/x-ndjson" });
    let whole = false;
    for await (const line of lines(response.body, signal)) {
      if (line.event === "error") throw new ServiceError(line);
      whole = line.event === "done";
      yield line;
    }
    if (!whole) throw new ServiceError({ detail: "the stream ended before the answer was complete" });
  }

  /** Return the successful answer as it is, for any format. Throws ServiceError. */
  post(picture, parameters = {}, { signal, accept = "*/*" } = {}) {
    if (typeof picture.kept === "string") {
      const path = `segment${query({ ...parameters, kept: picture.kept })}`;
      return this.#send(path, { method: "POST", headers: { accept }, signal });
    }
    const isNamed = typeof Blob !== "undefined" && picture instanceof Blob && picture.type.startsWith("image/");
    const headers = { accept, "content-type": isNamed ? picture.type : "application/octet-stream" };
    return this.#send(`segment${query(parameters)}`, { method: "POST", body: picture, headers, signal });
  }

  /** Return a window of a kept picture's mask as a PNG file of its probabilities. Throws ServiceError. */
  async render(view, { signal } = {}) {
    const path = `render${query({ ...view, window: view.window.join() })}`;
    return (await this.#send(path, { method: "POST", headers: {}, signal })).blob();
  }

  /** Return the loaded models, the default first. Throws ServiceError. */
  async models({ signal } = {}) {
    return (await this.#send("models", { headers: {}, signal })).json();
  }

  async #send(path, request) {
    const begun = Date.now();
    if (this.#key) request.headers["x-api-key"] = this.#key;
    for (let failed = 1; ; failed++) {
      const error = await this.#attempt(path, request);
      if (!(error instanceof ServiceError)) return error;
      const left = (error.retryAfter === null ? this.#seconds / 10 : this.#seconds) - (Date.now() - begun) / 1000;
      const grown = Math.min(LONGEST_WAIT, 0.2 * 2 ** (failed - 1)) * (0.5 + Math.random());
      // Random, because others may have been told the same time, and never too early.
      const wait = error.retryAfter === null ? grown : error.retryAfter + Math.random() * (1 + error.retryAfter / 10);
      if (!error.mayRetry || wait > left) throw error;
      await pause(wait, request.signal);
    }
  }

  /** Return the successful response, or the error. Throws what `signal` was aborted with. */
  async #attempt(path, request) {
    let response;
    try {
      response = await this.#fetch(this.#url + path, request);
    } catch (error) {
      request.signal?.throwIfAborted();
      const why = error.cause?.message ?? error.message;
      return new ServiceError({ detail: `no answer from ${this.#url}: ${why}` });
    }
    if (response.ok) return response;
    const told = await response.json().catch(() => ({}));
    const after = response.headers.get("retry-after");
    const problem = { title: response.statusText, ...told, status: response.status };
    return new ServiceError(problem, after !== null && /^\d+$/.test(after) ? Number(after) : null);
  }
}

/** Return the run lengths of a mask, down its columns and zeros first, of COCO's compressed text or of a list. */
export function runLengths(counts) {
  if (typeof counts !== "string") return counts;
  const found = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0;
    let scale = 1;
    let bits;
    do {
      bits = counts.charCodeAt(at++) - 48;
      value += (bits & 31) * scale;
      scale *= 32;
    } while (bits & 32);
    if (bits & 16) value -= scale;
    found.push(found.length > 2 ? value + found[found.length - 2] : value);
  }
  return found;
}

/** Return a mask's cells as a Uint8Array of height × width, row by row: 1 inside and 0 outside. */
export function decoded(segmentation) {
  const [height, width] = segmentation.size;
  return painted(inside(segmentation), height, { left: 0, top: 0, width, height });
}

/** Return the smallest part of a mask that holds all of it: {left, top, width, height, cells}, cells as of `decoded`. */
export function cropped(segmentation) {
  const [height] = segmentation.size;
  const runs = [...inside(segmentation)];
  const part = { left: 0, top: 0, width: 0, height: 0 };
  if (runs.length) {
    part.left = Math.floor(runs[0][0] / height);
    part.width = Math.floor((runs.at(-1)[1] - 1) / height) - part.left + 1;
    // A run that goes on in the next column touches the last row and the first.
    const tops = runs.map(([begin, end]) => (begin % height) + end - begin > height ? 0 : begin % height);
    const bottoms = runs.map(([begin, end]) => Math.min((begin % height) + end - begin, height));
    part.top = tops.reduce((one, other) => Math.min(one, other));
    part.height = bottoms.reduce((one, other) => Math.max(one, other)) - part.top;
  }
  return { ...part, cells: painted(runs, height, part) };
}

/** Return the begin and the end of each run that is inside, as positions down the columns. */
function inside({ counts }) {
  const runs = [];
  let at = 0;
  for (const [index, length] of runLengths(counts).entries()) {
    if (index % 2 && length) runs.push([at, at + length]);
    at += length;
  }
  return runs;
}

/** Return the cells of a part, row by row, with ones for the runs down columns of this height. */
function painted(runs, height, part) {
  const cells = new Uint8Array(part.width * part.height);
  for (const [begin, end] of runs) {
    let x = Math.floor(begin / height) - part.left;
    let y = begin % height;
    for (let cell = begin; cell < end; cell++) {
      cells[(y - part.top) * part.width + x] = 1;
      if (++y === height) {
        y = 0;
        x++;
      }
    }
  }
  return cells;
}

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
  const text = (name, value) => (name === "boxes" && typeof value !== "string" ? JSON.stringify(value) : String(value));
  const texts = given.map(([name, value]) => [name, text(name, value)]);
  return texts.length ? `?${new URLSearchParams(texts)}` : "";
}

async function* lines(body, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw signal?.aborted ? error : new ServiceError({ detail: `the stream broke: ${error.message}` });
      });
      const ended = (rest + (value ?? "")).split("\n");
      rest = done ? "" : ended.pop();
      for (const line of ended) if (line.trim()) yield JSON.parse(line);
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {}); // the reader has left, so that the service stops, too
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const left = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", left);
      resolve();
    }, 1000 * seconds);
    signal?.addEventListener("abort", left, { once: true });
  });
}
