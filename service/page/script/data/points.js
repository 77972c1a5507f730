/* The points that were evaluated, as an answer explains them. */

const NUMBER = new Intl.NumberFormat("en");

/** Return the flat indices of a level's evaluated cells: base64 of little-endian 32-bit numbers; null is every cell. */
export function cells({ side, cells: text }) {
  if (text === null) return Uint32Array.from({ length: side * side }, (_, index) => index);
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, index) => view.getUint32(4 * index, true));
}

/** Return the centres of a level's evaluated cells in pixels of the picture: x, y, x, y, … */
export function places(level, [left, top, width, height]) {
  const found = cells(level);
  const out = new Float32Array(2 * found.length);
  found.forEach((cell, index) => {
    out[2 * index] = left + (((cell % level.side) + 0.5) / level.side) * width;
    out[2 * index + 1] = top + ((Math.floor(cell / level.side) + 0.5) / level.side) * height;
  });
  return out;
}

/** Return how many points some objects took, and how many cells they have, at the levels that are shown. */
export function effort(objects) {
  let evaluated = 0;
  let all = 0;
  for (const { levels, side } of objects.filter((each) => each.levels.length)) {
    for (const level of levels) evaluated += level.points;
    all += side * side;
  }
  return { evaluated, all };
}

/** Return it as a sentence; an empty one if nothing is known. */
export function sentence(objects) {
  const { evaluated, all } = effort(objects);
  if (!all) return "";
  const share = (100 * evaluated) / all;
  const percent = share >= 99.95 ? "100" : share.toFixed(1);
  return `${NUMBER.format(evaluated)} of ${NUMBER.format(all)} points evaluated: ${percent} %`;
}
