/* The pointer on the picture: it names an object, isolates it, or drags a box. */

const LEAST = 6; // CSS pixels; a shorter drag is a click

/** Call `hover(index, place, event)`, `leave()`, `click(index)`, `drag(box)` and `box(box)` of `heard`. */
export function follow(view, heard) {
  const { canvas } = view;
  let start = null;
  const moved = (event) => Math.hypot(event.clientX - start.event.clientX, event.clientY - start.event.clientY) >= LEAST;
  const box = (event) => {
    const { width, height } = view.scene.bitmap;
    const [x, y] = view.place(event);
    const inside = (value, most) => Math.min(Math.max(value, 0), most);
    const [xs, ys] = [[start.place[0], x], [start.place[1], y]].map((pair) => pair.sort((a, b) => a - b));
    return [inside(xs[0], width), inside(ys[0], height), inside(xs[1], width), inside(ys[1], height)];
  };
  const isBox = ([x0, y0, x1, y1]) => x1 - x0 >= 1 && y1 - y0 >= 1;

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !view.scene) return;
    start = { event, place: view.place(event) };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!view.scene) return;
    if (start && moved(event)) heard.drag(box(event));
    else if (!start) heard.hover(view.objectAt(view.place(event)), view.place(event), event);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!start) return;
    const found = moved(event) ? box(event) : null;
    start = null;
    heard.drag(null);
    if (found === null) heard.click(view.objectAt(view.place(event)));
    else if (isBox(found)) heard.box(found);
  });
  canvas.addEventListener("pointercancel", () => {
    start = null;
    heard.drag(null);
  });
  canvas.addEventListener("pointerleave", () => heard.leave());
}
