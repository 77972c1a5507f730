/* The form of settings, and the parameters of a request that follow from it. */

const KEEP_SECONDS = 120; // for which the service may be asked to render what is enlarged
const CORNERS = ["x0", "y0", "x1", "y1"];

export class Settings {
  /** `changed()` is called when the user has set something that asks for a new answer. */
  constructor(form, changed) {
    this.form = form;
    this.models = [];
    this.model = form.querySelector("#model");
    this.corners = CORNERS.map((name) => form.querySelector(`#${name}`));
    this.clear = form.querySelector("#clear-box");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (form.reportValidity()) changed();
    });
    form.addEventListener("change", (event) => {
      this.update();
      if (!this.corners.includes(event.target) && form.checkValidity()) changed();
    });
    form.addEventListener("input", () => this.update());
    this.clear.addEventListener("click", () => {
      this.box = null;
      changed();
    });
  }

  /** Offer these models, the default first. */
  offer(models) {
    this.models = models;
    this.model.replaceChildren(...models.map(({ name, task }) => new Option(task === "semantic" ? `${name}, labels` : name, name)));
    this.update();
  }

  get isSemantic() {
    return this.models.find(({ name }) => name === this.model.value)?.task === "semantic";
  }

  /** The parameter that has a picture kept, if the model can and the service does. */
  get keeping() {
    const model = this.models.find(({ name }) => name === this.model.value);
    return model?.keeps && !this.isSemantic ? { keep: String(Math.min(KEEP_SECONDS, model.limits.keep_seconds)) } : {};
  }

  /** The parameter that names the picture of an answer, if the service keeps it and can segment the box in it. */
  instead(answer) {
    const model = this.models.find(({ name }) => name === this.model.value);
    return this.box && answer?.kept && model?.segments_kept && answer.model === model.name ? { kept: answer.kept } : {};
  }

  /** The box to segment, [x0, y0, x1, y1] in pixels of the picture, or null. */
  get box() {
    const values = this.corners.map((corner) => corner.valueAsNumber);
    return values.every(Number.isFinite) ? values : null;
  }

  set box(values) {
    this.corners.forEach((corner, index) => {
      corner.value = values === null ? "" : Math.round(10 * values[index]) / 10;
    });
    this.update();
  }

  /** The parameters of a request, without those that have their default. */
  parameters(resolution) {
    const value = (id) => this.form.querySelector(`#${id}`).value.trim();
    const found = {};
    if (this.models.length && this.model.value !== this.models[0].name) found.model = this.model.value;
    if (resolution !== "native") found.resolution = resolution;
    if (value("level-points") && value("level-points") !== "auto") found.points = value("level-points");
    if (value("classes")) found.classes = value("classes");
    if (this.isSemantic) return found;
    if (value("score") && Number(value("score")) !== 0.5) found.score = value("score");
    if (this.box) found.boxes = JSON.stringify([this.box]);
    return found;
  }

  update() {
    this.clear.disabled = this.box === null;
    for (const part of this.form.querySelectorAll(".instance-only")) part.hidden = this.isSemantic;
    const model = this.models.find(({ name }) => name === this.model.value);
    const names = (model?.categories ?? []).map(({ name }) => new Option(name));
    this.form.querySelector("#class-names").replaceChildren(...names);
  }
}
