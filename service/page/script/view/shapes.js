/* Masks as paths in pixels of the picture, made when they are first drawn. */

import { crop } from "../data/rle.js";
import { outlines, path, smoothed } from "../data/contour.js";

const SHAPES = new WeakMap(); // of a mask's run lengths, and of a coarse mask
const FINE = 16; // cells of the enlarged coarse mask for each of its own

/** Return {path, rings, inside(x, y)} of an object's mask in a picture of this size. */
export function shapeOf({ mask }, width, height) {
  if (!SHAPES.has(mask)) {
    const part = crop(mask);
    const scale = [width / mask.size[1], height / mask.size[0]];
    const place = { left: part.left * scale[0], top: part.top * scale[1], scale };
    const rings = outlines(part.cells, part.width, part.height).map((ring) => smoothed(ring));
    const inside = (x, y) => {
      const column = Math.floor(x / scale[0]) - part.left;
      const row = Math.floor(y / scale[1]) - part.top;
      const within = column >= 0 && row >= 0 && column < part.width && row < part.height;
      return within && part.cells[row * part.width + column] === 1;
    };
    const moved = rings.map((ring) => ring.map((v, i) => (i % 2 ? place.top + v * scale[1] : place.left + v * scale[0])));
    SHAPES.set(mask, { path: path(moved), rings: moved, inside });
  }
  return SHAPES.get(mask);
}

/** Return the path of an object's coarse mask, enlarged bilinearly within its box; null if it is not known. */
export function coarsePath({ coarse, box }) {
  if (!coarse) return null;
  if (!SHAPES.has(coarse)) {
    const side = coarse.side * FINE;
    const values = new Float32Array(side * side);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) values[y * side + x] = bilinear(coarse, (x + 0.5) / FINE - 0.5, (y + 0.5) / FINE - 0.5);
    }
    const scale = [box[2] / side, box[3] / side];
    SHAPES.set(coarse, path(outlines(values, side, side), { left: box[0], top: box[1], scale }));
  }
  return SHAPES.get(coarse);
}

function bilinear({ side, probabilities }, x, y) {
  const clamped = (value) => Math.min(Math.max(value, 0), side - 1);
  const [left, top] = [clamped(Math.floor(x)), clamped(Math.floor(y))];
  const [right, bottom] = [clamped(Math.floor(x) + 1), clamped(Math.floor(y) + 1)];
  const [u, v] = [Math.min(Math.max(x - left, 0), 1), Math.min(Math.max(y - top, 0), 1)];
  const at = (column, row) => probabilities[row * side + column];
  return (1 - v) * ((1 - u) * at(left, top) + u * at(right, top)) + v * ((1 - u) * at(left, bottom) + u * at(right, bottom));
}
