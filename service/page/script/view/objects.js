/* The list of objects: a button each, which names it and isolates it. */

import { colour } from "./colours.js";

/** Show the objects. `heard` has `click(index)` and `hover(index or null)`. The focus stays where it was. */
export function showObjects(list, objects, { isolated, isDone }, heard) {
  const focused = document.activeElement?.closest?.("#objects button")?.dataset.index;
  list.replaceChildren(...objects.map((each) => row(each, isolated, heard)));
  if (!objects.length && isDone) {
    const text = document.createElement("p");
    text.textContent = "Nothing found. Try a lower score, or drag a box around an object.";
    const item = document.createElement("li");
    item.append(text);
    list.append(item);
  }
  if (focused !== undefined) list.querySelector(`[data-index="${focused}"]`)?.focus();
}

function row({ index, name, score, side }, isolated, heard) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.testid = "instance";
  button.dataset.index = index;
  button.dataset.side = side;
  button.setAttribute("aria-pressed", String(isolated === index));
  const dot = document.createElement("span");
  dot.className = "dot";
  dot.style.background = colour(index);
  const label = document.createElement("span");
  label.textContent = name;
  const more = document.createElement("span");
  more.className = "score";
  more.textContent = score === null ? "" : `${score.toFixed(2)} · ${side}²`;
  if (score !== null) more.setAttribute("aria-label", `score ${score.toFixed(2)}, side ${side}`);
  button.append(dot, label, more);
  button.addEventListener("click", () => heard.click(index));
  button.addEventListener("focus", () => heard.hover(index));
  button.addEventListener("blur", () => heard.hover(null));
  button.addEventListener("pointerenter", () => heard.hover(index));
  button.addEventListener("pointerleave", () => heard.hover(null));
  const item = document.createElement("li");
  item.append(button);
  return item;
}
