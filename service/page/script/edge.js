/* The edge of an object in the part of the picture that is seen, as the service renders it for these very pixels. */

import { outlines, path } from "./data/contour.js";
import { Problem, rendered } from "./service.js";

const PAUSE = 120; // milliseconds without another change before the service is asked
const MARGIN = 12; // CSS pixels around what is seen, so that moving a little shows no end of the edge
const MOST = 1024; // pixels across and down

export class Edge {
  /** `changed()` is called when there is another edge to draw, `say(text)` if the picture is not kept any longer. */
  constructor(changed, say) {
    this.changed = changed;
    this.say = say;
    this.gone = null; // the id of a picture that is not kept any longer
    this.#clear();
  }

  /**
   * Return the edge to draw of the isolated object, {window, path}, or null. Ask for that of what is seen if it is not
   * here: of a picture that is enlarged and kept, at native resolution.
   */
  show({ state, answer, view }, objects) {
    const can = answer?.instances && answer.kept && answer.kept !== this.gone && state.resolution === "native" && view.viewport.zoom > 1;
    const object = can ? objects.find(({ index }) => index === state.isolated) : null;
    if (!object) {
      this.#clear();
      return null;
    }
    this.#want(answer.kept, object, view.seen, state.key);
    return this.found?.kept === answer.kept && this.found.index === object.index ? this.found : null;
  }

  /** Forget what was rendered, and ask for nothing. */
  #clear() {
    clearTimeout(this.timer);
    this.controller?.abort();
    this.found = this.asked = null;
  }

  #want(kept, { index, box }, seen, key) {
    const window = part(box, seen);
    const name = JSON.stringify([kept, index, window]);
    if (name === this.asked) return;
    clearTimeout(this.timer);
    this.controller?.abort();
    this.asked = name;
    if (window) this.timer = setTimeout(() => this.#ask(kept, index, window, seen.scale, key), PAUSE);
  }

  async #ask(kept, index, window, scale, key) {
    const { signal } = (this.controller = new AbortController());
    const [width, height] = [window[2] - window[0], window[3] - window[1]].map((side) => Math.min(MOST, Math.max(1, Math.ceil(side * scale))));
    try {
      const blob = await rendered({ id: kept, instance: index, window: window.join(), width, height }, key, signal);
      const values = await levels(blob);
      if (signal.aborted) return;
      const place = { left: window[0], top: window[1], scale: [(window[2] - window[0]) / width, (window[3] - window[1]) / height] };
      this.found = { kept, index, window, path: path(outlines(values, width, height, 127.5), place) };
      this.changed();
    } catch (error) {
      if (signal.aborted) return;
      this.asked = null; // another change asks again
      if (!(error instanceof Problem) || error.status !== 404) return;
      this.gone = kept;
      this.changed();
      this.say("The service keeps this picture no longer: what is enlarged now is the mask that is here.");
    }
  }
}

/** Return the part of a box [left, top, width, height] that is seen, with a margin; null if there is none. */
function part([left, top, width, height], { x0, y0, x1, y1, scale }) {
  const margin = MARGIN / scale;
  const found = [Math.max(left, x0 - margin), Math.max(top, y0 - margin), Math.min(left + width, x1 + margin), Math.min(top + height, y1 + margin)];
  return found[2] - found[0] > margin / MARGIN && found[3] - found[1] > margin / MARGIN ? found : null;
}

/** Return the grey levels of a picture. */
async function levels(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  const { data } = pen.getImageData(0, 0, width, height);
  return Float32Array.from({ length: width * height }, (_, index) => data[4 * index]);
}
