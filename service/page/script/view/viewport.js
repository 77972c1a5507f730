/* Which part of the picture is seen: how far it is enlarged, and where its middle is. */

export const MOST = 32; // times the size at which the whole picture fits

export class Viewport {
  constructor() {
    this.reset();
  }

  /** See the whole picture. */
  reset() {
    this.zoom = 1;
    this.middle = null; // in pixels of the picture; null: its own middle
  }

  /** Return where the picture is on a canvas: {scale, left, top} in CSS pixels. Both have {width, height}. */
  frame(canvas, picture) {
    const scale = Math.min(canvas.width / picture.width, canvas.height / picture.height) * this.zoom;
    const [x, y] = this.middle ?? [picture.width / 2, picture.height / 2];
    return { scale, left: edge(canvas.width, picture.width * scale, x * scale), top: edge(canvas.height, picture.height * scale, y * scale) };
  }

  /** Enlarge the picture by a factor. What is at a point of the canvas, [x, y] in CSS pixels, stays there. */
  enlarge(factor, point, canvas, picture) {
    const before = this.frame(canvas, picture);
    const place = [(point[0] - before.left) / before.scale, (point[1] - before.top) / before.scale];
    const zoom = Math.min(Math.max(this.zoom * factor, 1), MOST);
    const scale = (before.scale * zoom) / this.zoom;
    this.zoom = zoom;
    this.middle = [place[0] + (canvas.width / 2 - point[0]) / scale, place[1] + (canvas.height / 2 - point[1]) / scale];
    this.#settle(canvas, picture);
  }

  /** Move the picture by so many CSS pixels. */
  move(right, down, canvas, picture) {
    const { scale, left, top } = this.frame(canvas, picture);
    this.middle = [(canvas.width / 2 - left - right) / scale, (canvas.height / 2 - top - down) / scale];
    this.#settle(canvas, picture);
  }

  /** Let the middle be that of what is seen, which never goes beyond the picture. */
  #settle(canvas, picture) {
    const { scale, left, top } = this.frame(canvas, picture);
    this.middle = [(canvas.width / 2 - left) / scale, (canvas.height / 2 - top) / scale];
  }
}

/** Return where a side of the picture begins on a side of the canvas, which it fills if it is long enough. */
function edge(canvas, picture, middle) {
  if (picture <= canvas) return (canvas - picture) / 2;
  return Math.min(0, Math.max(canvas - picture, canvas / 2 - middle));
}
