/* The state of the page, and the ways in which it changes. */

import { has, shown } from "./data/answer.js";
import { answerFile, cutout, save, stem } from "./downloads.js";
import { Edge } from "./edge.js";
import { example } from "./example.js";
import { picture } from "./pictures.js";
import { Run } from "./run.js";
import { Settings } from "./settings.js";
import { file, models } from "./service.js";
import { Panels } from "./view/panels.js";
import { PictureView } from "./view/picture.js";
import { shapeOf } from "./view/shapes.js";
import { States } from "./view/states.js";

export class App {
  /** `part(id)` returns an element of the page. */
  constructor(part) {
    this.part = part;
    this.state = {
      picture: null,
      lines: [], // of the answer that is shown: its levels, and the whole answer at last
      first: null, // milliseconds to the first mask, as the browser saw it
      resolution: "native",
      isolated: null, // index of an object
      hovered: null,
      drag: null, // a box that is being drawn
      loupe: null, // a place in the picture; null: on the outline
      key: "", // in memory only
    };
    this.run = new Run();
    this.view = new PictureView(part("picture"));
    this.edge = new Edge(() => this.draw(), (text) => this.states.say(text));
    this.states = new States(document);
    this.settings = new Settings(part("settings"), () => this.request());
    this.panels = new Panels(part, { click: (index) => this.isolate(index === this.state.isolated ? null : index), hover: (index) => this.hover(index) });
  }

  get objects() {
    return shown(this.state.lines, this.state.resolution);
  }

  /** The line with the whole answer; undefined until it is here. */
  get answer() {
    return this.state.lines.find(({ event }) => event === "done");
  }

  get parameters() {
    return this.settings.parameters(this.state.resolution);
  }

  /** Show the example. */
  async open() {
    this.run.stop();
    try {
      const found = await example();
      if (this.state.picture && !this.state.picture.recorded) return; // the user was faster
      this.settings.box = null;
      this.view.viewport.reset();
      this.#change({ ...found, first: null, isolated: null, hovered: null, loupe: null });
      this.states.idle("This answer was recorded: the example is shown without a request.");
    } catch (error) {
      this.states.problem(error);
    }
  }

  /** Offer the service's models, and the field for a key if they need one. */
  async learnModels() {
    try {
      this.settings.offer(await models(this.state.key));
    } catch (problem) {
      if (problem.status === 401) this.part("key-form").hidden = false;
    }
    this.draw();
  }

  /** Segment a file that the user has chosen. */
  async take(chosen) {
    let found;
    try {
      found = await picture(chosen, chosen.name);
    } catch {
      this.run.stop();
      this.states.problem({ title: "The browser cannot show this file", detail: `${chosen.name} is no picture that it knows.` });
      return;
    }
    this.settings.box = null;
    this.view.viewport.reset();
    this.#change({ picture: found, lines: [], first: null, isolated: null, hovered: null, loupe: null });
    this.request();
  }

  /** Ask the service for the present picture with the present settings. */
  request() {
    const { picture: asked, key } = this.state;
    if (!asked) return;
    const explained = this.settings.isSemantic ? {} : { explain: "true" };
    let lines = [];
    const parameters = { ...this.parameters, ...explained, ...this.settings.keeping, ...this.settings.instead(this.answer) };
    this.run.start(asked, parameters, key, {
      begin: () => {
        lines = [];
        this.states.loading("Segmenting the picture …");
      },
      line: (line, milliseconds) => {
        const first = lines.length ? this.state.first : milliseconds;
        lines = [...lines, line];
        const kept = lines.length === 1 ? { isolated: null, hovered: null } : {};
        this.#change({ lines, first, ...kept }, true);
        if (line.event === "level") this.states.loading(`Masks of side ${line.side} are here`, lines.length, 6);
      },
      done: () => this.states.idle(this.#summary()),
      busy: (problem, signal) => this.states.busy(problem, signal),
      failed: (problem) => this.#failed(problem),
    });
    this.draw();
  }

  /** Show another resolution: from the levels that are here, or by a request for what is not. */
  choose(resolution) {
    if (resolution === this.state.resolution) return;
    this.#change({ resolution }, true);
    if (!has(this.state.lines, resolution)) this.request();
  }

  isolate(index) {
    this.#change({ isolated: index, loupe: index === null ? this.state.loupe : null });
  }

  /** Name the object under the pointer, and move the loupe there. */
  hover(index, place = null, event = null) {
    this.#change({ hovered: index, loupe: index !== null && place ? place : this.state.loupe });
    this.panels.tag(this.objects[index], event);
  }

  moveLoupe(place) {
    this.#change({ loupe: place });
  }

  drag(box) {
    if (box || this.state.drag) this.#change({ drag: box, hovered: null });
  }

  segmentBox(box) {
    if (this.settings.isSemantic) {
      this.states.say("A model of label maps segments whole pictures.");
      return;
    }
    this.settings.box = box;
    this.request();
  }

  useKey(key) {
    this.state.key = key;
    this.part("key-form").hidden = true;
    this.learnModels();
    if (this.state.picture && !this.state.picture.recorded) this.request();
  }

  /**
   * Save the cut-out of an object, cropped to it; with null that of all of them, of the size of the picture. The service
   * makes it, except that of the example, which needs no service.
   */
  async saveCutout(index) {
    const { picture: asked } = this.state;
    const name = `${stem(asked.name)}-cutout.png`;
    if (!asked.recorded) {
      await this.#saveFile("cut-out", name, { format: "cutout", ...(index === null ? {} : { instance: index, crop: true }) });
      return;
    }
    const { width, height } = asked.bitmap;
    const chosen = index === null ? this.objects : this.objects.filter((each) => each.index === index);
    const paths = chosen.map((each) => shapeOf(each, width, height).path);
    save(await cutout(asked.bitmap, paths, index === null ? undefined : chosen[0].box), name);
    this.states.say("The cut-out is saved.");
  }

  /** Save the label map of a semantic model, which the service draws. */
  async saveMap() {
    await this.#saveFile("label map", `${stem(this.state.picture.name)}-labels.png`, { format: "png" });
  }

  saveAnswer() {
    if (this.answer) save(answerFile(this.answer, this.objects), `${stem(this.state.picture.name)}.json`);
  }

  draw(lit = false) {
    const { picture: asked, isolated, hovered, drag } = this.state;
    if (!asked) return;
    const objects = this.objects;
    const showsPoints = this.part("show-points").checked;
    const box = drag ?? this.settings.box;
    const edge = this.edge.show(this, objects);
    this.view.show({ bitmap: asked.bitmap, objects, isolated, hovered, showsPoints, drag: box, edge }, lit);
    this.panels.show(this, objects);
  }

  /** Save an answer of the service that is a file. */
  async #saveFile(what, name, parameters) {
    const { picture: asked, key } = this.state;
    this.states.say(`Asking for the ${what} …`);
    try {
      save(await file(asked, { ...this.parameters, ...parameters }, key), name);
      this.states.idle(`The ${what} is saved.`);
    } catch (problem) {
      this.#failed(problem);
    }
  }

  #failed(problem) {
    if (problem.status === 401) this.states.needKey(problem);
    else this.states.problem(problem);
  }

  #summary() {
    const count = this.objects.length;
    if (!count) return "Nothing found.";
    const [one, more] = this.answer.segments ? ["class", "classes"] : ["object", "objects"];
    return `${count} ${count === 1 ? one : more}, finished in ${Math.round(this.answer.timings_ms.total)} ms.`;
  }

  #change(changes, lit = false) {
    Object.assign(this.state, changes);
    this.draw(lit);
  }
}
