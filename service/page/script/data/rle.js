/* Masks as COCO's run lengths: down the columns of the picture, zeros first. */

/** Return the run lengths in COCO's compressed text: five bits a character, differences to the run before the last. */
export function runLengths(text) {
  const counts = [];
  for (let at = 0; at < text.length; ) {
    let value = 0;
    let scale = 1;
    let bits;
    do {
      bits = text.charCodeAt(at++) - 48;
      value += (bits & 31) * scale;
      scale *= 32;
    } while (bits & 32);
    if (bits & 16) value -= scale;
    counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
  }
  return counts;
}

/**
 * Return the part of a mask that is not empty: {left, top, width, height, cells}, with one byte a pixel, row by row.
 * `mask` is {size: [height, width], counts}, with counts as a text or a list.
 */
export function crop(mask) {
  const [height] = mask.size;
  const counts = typeof mask.counts === "string" ? runLengths(mask.counts) : mask.counts;
  const runs = [];
  let left = Infinity;
  let right = -1;
  let top = height;
  let bottom = -1;
  let at = 0;
  for (let index = 0; index < counts.length; at += counts[index++]) {
    if (index % 2 === 0 || counts[index] === 0) continue;
    const end = at + counts[index] - 1;
    const first = Math.floor(at / height);
    const last = Math.floor(end / height);
    runs.push(at, end);
    left = Math.min(left, first);
    right = Math.max(right, last);
    top = first === last ? Math.min(top, at % height) : 0;
    bottom = first === last ? Math.max(bottom, end % height) : height - 1;
  }
  if (right < 0) return { left: 0, top: 0, width: 0, height: 0, cells: new Uint8Array(0) };
  const width = right - left + 1;
  const rows = bottom - top + 1;
  const cells = new Uint8Array(width * rows);
  for (let index = 0; index < runs.length; index += 2) {
    for (let cell = runs[index]; cell <= runs[index + 1]; cell++) {
      const column = Math.floor(cell / height);
      cells[(cell - column * height - top) * width + column - left] = 1;
    }
  }
  return { left, top, width, height: rows, cells };
}
