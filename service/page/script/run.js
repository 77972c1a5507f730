/* One request at a time: a new one takes the place of the one before. */

import { Problem, segment } from "./service.js";

export class Run {
  constructor() {
    this.controller = null;
  }

  /** Leave the request that runs, if there is one. */
  stop() {
    this.controller?.abort();
    this.controller = null;
  }

  /**
   * Send a request, again after a while if the service is busy. Calls of `heard`: `begin()`, `line(line, milliseconds)`,
   * `done()`, `busy(problem, signal)`, which returns whether to go on, and `failed(problem)`.
   */
  async start(picture, parameters, key, heard) {
    this.stop();
    const { signal } = (this.controller = new AbortController());
    for (;;) {
      heard.begin();
      const begin = performance.now();
      try {
        for await (const line of segment(picture, parameters, key, signal)) {
          if (signal.aborted) return;
          heard.line(line, performance.now() - begin);
        }
        if (!signal.aborted) heard.done();
        return;
      } catch (error) {
        if (signal.aborted || error.name === "AbortError") return;
        if (error instanceof Problem && error.status === 404 && parameters.kept) {
          parameters = { ...parameters };
          delete parameters.kept; // it is kept no longer, so it is sent
          continue;
        }
        if (error instanceof Problem && error.status === 429) {
          if (await heard.busy(error, signal)) continue;
          return;
        }
        heard.failed(error);
        return;
      }
    }
  }
}
