/* The times of a request's stages, as a bar and as numbers. */

import { stageColour } from "./colours.js";

/** Show the times of an answer in milliseconds. `first` is when the first mask was here, as the browser saw it. */
export function showTimings(place, times, { recorded, first }) {
  place.replaceChildren();
  if (!times) return;
  const { total, ...stages } = times;
  const bar = element("div", "stages");
  bar.setAttribute("aria-hidden", "true");
  const legend = element("ul", "legend");
  for (const [name, spent] of Object.entries(stages)) {
    const part = element("span");
    part.style.flexGrow = spent;
    part.style.background = stageColour(name);
    bar.append(part);
    legend.append(entry(name, spent, stageColour(name)));
  }
  legend.append(entry("total", total));
  if (first !== null) legend.append(entry("first mask", first));
  place.append(bar, legend);
  if (recorded) {
    const note = element("small");
    note.textContent = "Of the recorded answer.";
    place.append(note);
  }
}

function entry(name, milliseconds, background = "transparent") {
  const item = element("li");
  const mark = element("i");
  mark.style.background = background;
  const value = element("b");
  value.textContent = `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
  item.append(mark, name, value);
  return item;
}

function element(kind, name = "") {
  const found = document.createElement(kind);
  if (name) found.className = name;
  return found;
}
