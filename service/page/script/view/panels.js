/* Everything beside the picture, as it follows from the state of the page. */

import { nativeSide, RESOLUTIONS } from "../data/answer.js";
import { sentence } from "../data/points.js";
import { curl, python } from "../data/snippets.js";
import { drawLoupe, edgeAt } from "./loupe.js";
import { showObjects } from "./objects.js";
import { showTimings } from "./timings.js";

export class Panels {
  /** `part(id)` returns an element; `heard` has `click(index)` and `hover(index)` of an object's button. */
  constructor(part, heard) {
    this.part = part;
    this.heard = heard;
    this.listed = null;
  }

  /** Show the page's state, with the objects that are shown. */
  show({ state, settings, parameters, answer }, objects) {
    const { part } = this;
    const chosen = state.isolated === null ? objects : objects.filter(({ index }) => index === state.isolated);
    this.#resolution(state.resolution, chosen);
    put(part("points"), sentence(chosen));
    this.#list(objects, state, answer);
    part("isolated").hidden = state.isolated === null;
    part("points-check").hidden = !objects.some(({ levels }) => levels.length);
    part("cutout").hidden = settings.isSemantic;
    this.#loupe(state, objects, chosen);
    showTimings(part("timings"), answer?.timings_ms, { recorded: state.picture.recorded && state.first === null, first: state.first });
    put(part("curl"), curl(state.picture, parameters, state.key !== ""));
    put(part("python"), python(state.picture, parameters, state.key !== ""));
    part("save-json").disabled = !answer;
    part("save-cutout").hidden = settings.isSemantic;
    part("save-cutout").disabled = !objects.length;
    part("save-map").hidden = !settings.isSemantic;
    part("example").hidden = state.picture.recorded && state.first === null;
    part("picture").setAttribute("aria-label", `The picture with ${objects.length} masks`);
  }

  /** Name an object beside the pointer; without a pointer, nowhere. */
  tag(object, event) {
    const tag = this.part("tag");
    tag.hidden = !object || !event;
    if (tag.hidden) return;
    put(tag, object.score === null ? object.name : `${object.name} · ${object.score.toFixed(2)}`);
    const { left, top, width } = this.part("stage").getBoundingClientRect();
    const x = Math.min(event.clientX - left + 14, width - tag.offsetWidth - 8);
    tag.style.transform = `translate(${x}px, ${Math.max(event.clientY - top - 36, 6)}px)`;
  }

  #resolution(resolution, objects) {
    const index = RESOLUTIONS.indexOf(resolution);
    const control = this.part("resolution");
    const sides = [...new Set(objects.filter(({ box }) => box).map(({ box }) => nativeSide(box)))].sort((a, b) => a - b);
    const native = sides.length ? `native: ${sides.join(", ")}` : "native";
    const text = resolution === "native" ? native : `${resolution} × ${resolution}`;
    control.value = index;
    control.setAttribute("aria-valuetext", text);
    put(this.part("resolution-value"), text);
    [...this.part("ticks").children].forEach((tick, at) => tick.classList.toggle("now", at === index));
  }

  #list(objects, { isolated }, answer) {
    const now = JSON.stringify([objects.map(({ name, score, side }) => [name, score, side]), isolated, Boolean(answer)]);
    if (now === this.listed) return; // a list that is made anew under the pointer would flicker
    this.listed = now;
    showObjects(this.part("objects"), objects, { isolated, isDone: Boolean(answer) }, this.heard);
  }

  #loupe({ picture, loupe, hovered }, objects, chosen) {
    const object = objects.find(({ index }) => index === hovered) ?? chosen[0];
    const share = this.part("loupe-place").value / 1000;
    const panel = this.part("loupe-panel");
    const edge = object?.box ? edgeAt(object, picture.bitmap, { share, place: loupe }) : null;
    panel.hidden = !edge;
    if (!edge) return;
    const [one, other] = edge.isLevel ? ["left", "right"] : ["above", "below"];
    put(this.part("loupe-coarse"), object.coarse ? `${one}: coarse, ${object.coarse.side} × ${object.coarse.side}` : `${one}: no coarse mask`);
    put(this.part("loupe-fine"), `${other}: rendered, ${object.side} × ${object.side}`);
    drawLoupe(this.part("loupe"), picture.bitmap, object, edge);
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
