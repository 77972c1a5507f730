/* Outlines of a field of numbers by marching squares, and paths to draw them with. */

// For each of the 16 cases of a square (top left 8, top right 4, bottom right 2, bottom left 1): from which side to which
// the outline goes, with the inside at its right. 0 is the top side, 1 the right one, 2 the bottom, 3 the left.
const SEGMENTS = [
  [], [3, 2], [2, 1], [3, 1], [1, 0], [3, 2, 1, 0], [2, 0], [3, 0],
  [0, 3], [0, 2], [0, 3, 2, 1], [0, 1], [1, 3], [1, 2], [2, 3], [],
];

/**
 * Return the closed outlines where a field crosses the threshold, each a list x, y, x, y, … in cells; the centre of the
 * first cell is (0.5, 0.5). Outside of the field is nothing.
 */
export function outlines(values, width, height, threshold = 0.5) {
  const wide = width + 2;
  const value = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : values[y * width + x]);
  const next = new Map(); // from a crossing to the one after it
  // A crossing is named by the cell above it or at its left: even numbers between a cell and the one at its right.
  const name = (x, y, side) => {
    const cell = (x + 1 + (side === 1 ? 1 : 0)) + (y + 1 + (side === 2 ? 1 : 0)) * wide;
    return 2 * cell + (side % 2);
  };
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const code =
        (value(x, y) > threshold ? 8 : 0) + (value(x + 1, y) > threshold ? 4 : 0) +
        (value(x + 1, y + 1) > threshold ? 2 : 0) + (value(x, y + 1) > threshold ? 1 : 0);
      const found = SEGMENTS[code];
      for (let at = 0; at < found.length; at += 2) next.set(name(x, y, found[at]), name(x, y, found[at + 1]));
    }
  }
  const place = (crossing) => {
    const cell = crossing >> 1;
    const x = (cell % wide) - 1;
    const y = Math.floor(cell / wide) - 1;
    const below = crossing % 2;
    const here = value(x, y);
    const there = below ? value(x, y + 1) : value(x + 1, y);
    const share = (threshold - here) / (there - here);
    return below ? [x + 0.5, y + 0.5 + share] : [x + 0.5 + share, y + 0.5];
  };
  const rings = [];
  for (const start of [...next.keys()]) {
    const ring = [];
    for (let at = start; next.has(at); ) {
      ring.push(...place(at));
      const after = next.get(at);
      next.delete(at);
      at = after;
    }
    if (ring.length > 4) rings.push(ring);
  }
  return rings;
}

/** Return a ring without the stairs of its pixels: each point becomes the mean of itself and its two neighbours. */
export function smoothed(ring, times = 2) {
  let now = ring;
  for (let round = 0; round < times; round++) {
    const count = now.length;
    now = now.map((value, i) => (now[(i + count - 2) % count] + 2 * value + now[(i + 2) % count]) / 4);
  }
  return now;
}

/** Return rings as a path, moved and scaled by `place` {left, top, scale: [x, y]}. */
export function path(rings, { left = 0, top = 0, scale = [1, 1] } = {}) {
  const found = new Path2D();
  for (const ring of rings) {
    for (let i = 0; i < ring.length; i += 2) {
      const x = left + ring[i] * scale[0];
      const y = top + ring[i + 1] * scale[1];
      if (i === 0) found.moveTo(x, y);
      else found.lineTo(x, y);
    }
    found.closePath();
  }
  return found;
}
