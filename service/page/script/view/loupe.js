/* An edge enlarged and split across: the coarse mask on one side, the rendered mask on the other. */

import { colour } from "./colours.js";
import { coarsePath, shapeOf } from "./shapes.js";

const SHARE = 0.2; // of the picture's longer side that the loupe is wide
const REACH = 8; // points of the outline on both sides of a place, from which its direction follows

/**
 * Return the edge at a share (0–1) of an object's longest outline, or the one nearest to a place: {place, isLevel}, the
 * latter if it goes rather across than down. Null if the object has no outline.
 */
export function edgeAt(object, bitmap, { share, place }) {
  const { rings } = shapeOf(object, bitmap.width, bitmap.height);
  let best = null;
  if (place) {
    let least = Infinity;
    for (const ring of rings) {
      for (let i = 0; i < ring.length; i += 2) {
        const away = Math.hypot(ring[i] - place[0], ring[i + 1] - place[1]);
        if (away < least) [least, best] = [away, { ring, i }];
      }
    }
  } else if (rings.length) {
    const ring = rings.reduce((longest, each) => (each.length > longest.length ? each : longest));
    best = { ring, i: 2 * Math.min(Math.floor((share * ring.length) / 2), ring.length / 2 - 1) };
  }
  if (!best) return null;
  const { ring, i } = best;
  const at = (steps) => (i + 2 * steps + REACH * ring.length) % ring.length;
  const [before, after] = [at(-REACH), at(REACH)];
  const isLevel = Math.abs(ring[after] - ring[before]) >= Math.abs(ring[after + 1] - ring[before + 1]);
  return { place: [ring[i], ring[i + 1]], isLevel };
}

/** Draw the picture around an edge, with both masks of an object, split so that the edge crosses the split. */
export function drawLoupe(canvas, bitmap, object, { place: [x, y], isLevel }) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const scale = width / (SHARE * Math.max(bitmap.width, bitmap.height));
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * (width / 2 - x * scale), ratio * (height / 2 - y * scale));
  pen.drawImage(bitmap, 0, 0);
  const [wide, tall] = [width / scale, height / scale];
  const [left, top] = [x - wide / 2, y - tall / 2];
  const half = isLevel ? [wide / 2, tall] : [wide, tall / 2];
  const parts = [
    [coarsePath(object), left, top],
    [shapeOf(object, bitmap.width, bitmap.height).path, isLevel ? x : left, isLevel ? top : y],
  ];
  for (const [path, partLeft, partTop] of parts) {
    if (!path) continue;
    pen.save();
    pen.beginPath();
    pen.rect(partLeft, partTop, ...half);
    pen.clip();
    pen.fillStyle = pen.strokeStyle = colour(object.index);
    pen.globalAlpha = 0.4;
    pen.fill(path, "evenodd");
    pen.globalAlpha = 1;
    pen.lineWidth = 3 / scale;
    pen.stroke(path);
    pen.restore();
  }
  pen.fillStyle = "#fff";
  if (isLevel) pen.fillRect(x - 1 / scale, top, 2 / scale, tall);
  else pen.fillRect(left, y - 1 / scale, wide, 2 / scale);
}
