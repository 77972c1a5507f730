/* Zooming into the picture: by the wheel, two fingers, keys and buttons. Shift and a drag, or the middle button, move it. */

const STEP = 1.5; // of a key or a button
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const STRIDE = 60; // CSS pixels that an arrow moves the picture

/** Call `changed()` when another part of the picture is seen. `parts` are {closer, farther, output}. */
export function zooming(view, { closer, farther, output }, changed) {
  const { canvas } = view;
  view.drawn = () => {
    const { zoom } = view.viewport;
    output.textContent = `${zoom < 10 ? Math.round(10 * zoom) / 10 : Math.round(zoom)}×`;
  };
  const fingers = new Map();
  const apart = () => {
    const [one, other] = [...fingers.values()];
    return { distance: Math.hypot(one.x - other.x, one.y - other.y), x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 };
  };
  const enlarge = (factor, x, y) => {
    if (view.scene && view.enlarge(factor, x, y)) changed();
  };
  const around = (factor) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    enlarge(factor, left + width / 2, top + height / 2);
  };
  const move = (right, down) => {
    if (view.scene && view.move(right, down)) changed();
  };

  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!view.scene || (event.deltaY > 0 && view.viewport.zoom === 1)) return; // then the page scrolls
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1);
      enlarge(Math.exp(-pixels / (event.ctrlKey ? 100 : 400)), event.clientX, event.clientY);
    },
    { passive: false },
  );

  let dragged = null; // where the picture is held
  canvas.addEventListener(
    "pointerdown",
    (event) => {
      if (event.pointerType === "touch") fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (fingers.size === 2 || event.button === 1 || event.shiftKey) {
        event.preventDefault();
        event.stopImmediatePropagation(); // it draws no box
        canvas.dispatchEvent(new PointerEvent("pointercancel"));
        canvas.setPointerCapture(event.pointerId);
        if (fingers.size < 2) dragged = { x: event.clientX, y: event.clientY };
      }
    },
    { capture: true },
  );
  canvas.addEventListener(
    "pointermove",
    (event) => {
      const now = { x: event.clientX, y: event.clientY };
      if (fingers.size === 2 && fingers.has(event.pointerId)) {
        const before = apart();
        fingers.set(event.pointerId, now);
        const after = apart();
        enlarge(after.distance / before.distance, after.x, after.y);
        move(after.x - before.x, after.y - before.y);
      } else if (dragged) {
        move(now.x - dragged.x, now.y - dragged.y);
        dragged = now;
      } else return;
      event.stopImmediatePropagation();
    },
    { capture: true },
  );
  const up = (event) => {
    fingers.delete(event.pointerId);
    if (!dragged || !event.isTrusted) return;
    dragged = null;
    event.stopImmediatePropagation();
  };
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, up, { capture: true });

  closer.addEventListener("click", () => around(STEP));
  farther.addEventListener("click", () => around(1 / STEP));
  addEventListener("keydown", (event) => {
    const field = event.target.closest?.("input, select, textarea");
    const isTyping = field && !["range", "checkbox"].includes(field.type);
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") around(STEP);
    else if (event.key === "-") around(1 / STEP);
    else if (event.key === "0") around(0);
    else if (ARROWS[event.key] && !field && view.viewport.zoom > 1) {
      event.preventDefault();
      move(...ARROWS[event.key].map((each) => each * STRIDE));
    }
  });
}
