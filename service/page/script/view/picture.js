/* The picture with its masks, on a canvas of the screen's own pixels. */

import { places } from "../data/points.js";
import { colour } from "./colours.js";
import { shapeOf } from "./shapes.js";
import { Viewport } from "./viewport.js";

const LIT_MS = 900; // how long the evaluated points shine after the resolution has changed
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const PLACES = new WeakMap();

export class PictureView {
  constructor(canvas) {
    this.canvas = canvas;
    this.scene = null;
    this.litAt = -Infinity;
    this.viewport = new Viewport();
    this.drawn = null; // called after it is drawn
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /**
   * Show {bitmap, objects, isolated, hovered, showsPoints, drag, edge}. With `lit`, the points shine for a moment. `edge`
   * is that of the isolated object as it was rendered for a part of the picture, {window, path}, or null.
   */
  show(scene, lit = false) {
    this.scene = scene;
    this.canvas.parentElement.style.setProperty("--aspect", `${scene.bitmap.width} / ${scene.bitmap.height}`);
    if (lit && !STILL.matches) this.litAt = performance.now();
    this.draw();
  }

  /** Return where the picture is on the canvas: {scale, left, top} in CSS pixels. */
  get frame() {
    return this.viewport.frame(this.#size, this.scene.bitmap);
  }

  /** Return the part of the picture that is seen, in its pixels, with its scale: {x0, y0, x1, y1, scale}. */
  get seen() {
    const { scale, left, top } = this.frame;
    const { width, height } = this.#size;
    return { x0: -left / scale, y0: -top / scale, x1: (width - left) / scale, y1: (height - top) / scale, scale };
  }

  /** Enlarge the picture around a place of the window. Return whether that changed anything. */
  enlarge(factor, clientX, clientY) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return this.#seeing(() => this.viewport.enlarge(factor, [clientX - left, clientY - top], this.#size, this.scene.bitmap));
  }

  /** Move the picture by so many CSS pixels. Return whether that changed anything. */
  move(right, down) {
    return this.#seeing(() => this.viewport.move(right, down, this.#size, this.scene.bitmap));
  }

  #seeing(change) {
    const before = JSON.stringify(this.frame);
    change();
    return JSON.stringify(this.frame) !== before;
  }

  get #size() {
    return { width: this.canvas.clientWidth, height: this.canvas.clientHeight };
  }

  /** Return the place of a pointer in pixels of the picture. */
  place({ clientX, clientY }) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const frame = this.frame;
    return [(clientX - left - frame.left) / frame.scale, (clientY - top - frame.top) / frame.scale];
  }

  /** Return the index of the object at a place, the smallest of several; null if there is none. */
  objectAt([x, y]) {
    const { bitmap, objects } = this.scene;
    const found = objects.filter((each) => shapeOf(each, bitmap.width, bitmap.height).inside(x, y));
    const area = ({ box }) => (box ? box[2] * box[3] : 0);
    return found.sort((a, b) => area(a) - area(b))[0]?.index ?? null;
  }

  draw() {
    if (!this.scene || !this.canvas.clientWidth) return;
    const { canvas, scene } = this;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const pen = canvas.getContext("2d");
    const { scale, left, top } = this.frame;
    pen.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * left, ratio * top);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(scene.bitmap, 0, 0);
    const { isolated } = scene;
    const objects = isolated === null ? scene.objects : scene.objects.filter(({ index }) => index === isolated);
    if (isolated !== null) this.#dim(pen, objects);
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, scene.bitmap.width, scene.bitmap.height);
    pen.clip();
    for (const each of objects) this.#mask(pen, each, scale);
    pen.restore();
    if (scene.showsPoints) for (const each of objects) this.#points(pen, each, scale);
    if (scene.drag) this.#box(pen, scene.drag, scale);
    this.drawn?.();
    canvas.dataset.edge = scene.edge ? "rendered" : "";
    canvas.dataset.drawn = objects.map(({ side }) => side).join(",");
  }

  #dim(pen, objects) {
    const { width, height } = this.scene.bitmap;
    pen.fillStyle = "#0a0c10c8";
    for (const each of objects) {
      this.#inParts(pen, each, (path) => {
        const around = new Path2D();
        around.rect(0, 0, width, height);
        around.addPath(path);
        pen.fill(around, "evenodd");
      });
    }
  }

  /** Call `draw(path)` for the outline of an object: where its edge was rendered with that, elsewhere with its mask's. */
  #inParts(pen, object, draw) {
    const { bitmap, edge, isolated } = this.scene;
    const { path } = shapeOf(object, bitmap.width, bitmap.height);
    if (!edge || object.index !== isolated) {
      draw(path);
      return;
    }
    const inner = new Path2D();
    inner.rect(edge.window[0], edge.window[1], edge.window[2] - edge.window[0], edge.window[3] - edge.window[1]);
    const outer = new Path2D(inner);
    outer.rect(0, 0, bitmap.width, bitmap.height);
    for (const [clip, own] of [[inner, edge.path], [outer, path]]) {
      pen.save();
      pen.clip(clip, "evenodd");
      draw(own);
      pen.restore();
    }
  }

  #mask(pen, object, scale) {
    const { bitmap, isolated, hovered } = this.scene;
    if (isolated === null) {
      const { path } = shapeOf(object, bitmap.width, bitmap.height);
      pen.globalAlpha = hovered === object.index ? 0.5 : 0.32;
      pen.fillStyle = colour(object.index);
      pen.fill(path, "evenodd");
    }
    pen.globalAlpha = 1;
    pen.lineJoin = "round";
    this.#inParts(pen, object, (path) => {
      pen.strokeStyle = "#0008";
      pen.lineWidth = 4.5 / scale;
      pen.stroke(path);
      pen.strokeStyle = colour(object.index);
      pen.lineWidth = (hovered === object.index ? 3.5 : 2.5) / scale;
      pen.stroke(path);
    });
  }

  /** Draw the points of the finest level that is shown; those of the levels before it are fainter. */
  #points(pen, object, scale) {
    const age = (performance.now() - this.litAt) / LIT_MS;
    const shine = age < 1 ? 1 - age : 0;
    for (const level of object.levels) {
      const isLast = level.side === object.levels.at(-1).side;
      if (!isLast && level.cells === null) continue;
      if (!PLACES.has(level)) PLACES.set(level, places(level, object.box));
      const found = PLACES.get(level);
      const size = (isLast ? 1.4 + 2.4 * shine : 1) / scale;
      pen.globalAlpha = isLast ? 0.55 + 0.45 * shine : 0.25;
      pen.fillStyle = "#fff";
      for (let i = 0; i < found.length; i += 2) pen.fillRect(found[i] - size / 2, found[i + 1] - size / 2, size, size);
    }
    pen.globalAlpha = 1;
    if (shine > 0 && !this.waiting) {
      this.waiting = requestAnimationFrame(() => {
        this.waiting = 0;
        this.draw();
      });
    }
  }

  #box(pen, [x0, y0, x1, y1], scale) {
    pen.setLineDash([6 / scale, 4 / scale]);
    for (const [ink, width] of [["#000c", 4], ["#fff", 2]]) {
      pen.strokeStyle = ink;
      pen.lineWidth = width / scale;
      pen.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    }
    pen.setLineDash([]);
  }
}
