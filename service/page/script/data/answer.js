/* What the lines of an answer show at a resolution: the lines are levels of the same objects, the last one is whole. */

export const SIDES = [28, 56, 112, 224, 448, 896];
export const RESOLUTIONS = [...SIDES.map(String), "native"];

/** Return the least side that gives each pixel of a box a cell of its own, or the largest, as the service does. */
export function nativeSide([, , width, height]) {
  return SIDES.find((side) => side >= Math.max(width, height) - 0.01) ?? SIDES.at(-1);
}

/** Return whether the lines have every object at exactly this resolution, so that nothing need be asked. */
export function has(lines, resolution) {
  const last = lines.at(-1);
  if (!last) return false;
  if (last.segments) return lines.some((line) => line.resolution === wantedHeight(last, resolution));
  return last.instances.every((instance, index) => {
    const wanted = wantedSide(instance, resolution);
    return lines.some((line) => line.instances[index]?.resolution === wanted);
  });
}

/** Return the objects that the lines show at a resolution, or at the next coarser one that is there. */
export function shown(lines, resolution) {
  const last = lines.at(-1);
  if (!last) return [];
  if (last.segments) return segments(lines, wantedHeight(last, resolution));
  return last.instances.map((instance, index) => {
    const wanted = wantedSide(instance, resolution);
    const fitting = lines.map((line) => line.instances[index]).filter((each) => each && each.resolution <= wanted);
    const found = fitting.at(-1) ?? lines[0].instances[index] ?? instance;
    const side = found.resolution;
    return {
      index,
      name: found.category,
      score: found.score,
      box: found.bbox,
      side,
      mask: found.segmentation,
      coarse: instance.explain?.coarse ?? null,
      levels: (instance.explain?.levels ?? []).filter((level) => level.side <= side),
      entry: found,
    };
  });
}

function segments(lines, height) {
  const line = lines.filter((each) => each.resolution <= height).at(-1) ?? lines[0];
  return line.segments.map((segment, index) => ({
    index,
    name: segment.category,
    score: null,
    box: null,
    side: line.resolution,
    mask: segment.segmentation,
    coarse: null,
    levels: [],
    entry: segment,
  }));
}

function wantedSide(instance, resolution) {
  return resolution === "native" ? nativeSide(instance.bbox) : Number(resolution);
}

function wantedHeight(line, resolution) {
  return resolution === "native" ? line.height : Number(resolution);
}
