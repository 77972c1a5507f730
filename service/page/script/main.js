/* The page: what it knows, and what happens when something changes. */

import { RESOLUTIONS } from "./data/answer.js";
import { App } from "./app.js";
import { listen } from "./pictures.js";
import { copy } from "./downloads.js";
import { follow } from "./view/pointer.js";
import { zooming } from "./view/zooming.js";

const part = (id) => document.getElementById(id);
const app = new App(part);

part("ticks").append(
  ...RESOLUTIONS.map((resolution, index) => {
    const tick = document.createElement("li");
    tick.textContent = resolution;
    tick.addEventListener("click", () => {
      part("resolution").value = index;
      app.choose(resolution);
    });
    return tick;
  }),
);
part("resolution").addEventListener("input", ({ target }) => app.choose(RESOLUTIONS[target.value]));
part("show-points").addEventListener("change", () => app.draw());
part("loupe-place").addEventListener("input", () => app.moveLoupe(null));
part("release").addEventListener("click", () => app.isolate(null));
part("example").addEventListener("click", () => app.open());
part("cutout").addEventListener("click", () => app.saveCutout(app.state.isolated));
part("save-cutout").addEventListener("click", () => app.saveCutout(null));
part("save-json").addEventListener("click", () => app.saveAnswer());
part("save-map").addEventListener("click", () => app.saveMap());
part("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  app.useKey(part("key").value);
});
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(part(button.dataset.copy), button, (text) => app.states.say(text)));
}
addEventListener("keydown", (event) => {
  if (event.key === "Escape") app.isolate(null);
});
listen({ inputs: [part("file"), part("camera")], hint: part("drop"), take: (file) => app.take(file) });
zooming(app.view, { closer: part("closer"), farther: part("farther"), output: part("zoom") }, () => app.draw());
follow(app.view, {
  hover: (index, place, event) => app.hover(index, place, event),
  leave: () => app.hover(null),
  click: (index) => app.isolate(index === app.state.isolated ? null : index),
  drag: (box) => app.drag(box),
  box: (box) => app.segmentBox(box),
});
app.open();
app.learnModels();
