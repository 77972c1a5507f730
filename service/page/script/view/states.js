/* What the page says of a request: that it runs, waits, failed, or needs a key. */

export class States {
  constructor(root) {
    const part = (id) => root.querySelector(`#${id}`);
    this.parts = { status: part("status"), progress: part("progress"), countdown: part("countdown"), error: part("error") };
    this.keyForm = part("key-form");
  }

  /** Say something in passing. */
  say(text) {
    if (this.parts.status.textContent !== text) this.parts.status.textContent = text;
  }

  /** Show that a request runs: how many of its levels are here, of all if that is known. */
  loading(text, done = 0, all = 0) {
    this.#clear();
    const { progress } = this.parts;
    progress.hidden = false;
    if (done > 0 && all > 0) Object.assign(progress, { max: all, value: Math.min(done, all) });
    else progress.removeAttribute("value");
    this.say(text);
  }

  /** Show that nothing runs. */
  idle(text) {
    this.#clear();
    this.say(text);
  }

  /** Show a problem in the service's own words. */
  problem({ title, detail, message }) {
    this.idle("");
    const { error } = this.parts;
    const head = document.createElement("strong");
    head.textContent = title ?? "The page failed";
    error.replaceChildren(head, detail ?? message);
    error.hidden = false;
  }

  /** Ask for a key. */
  needKey(problem) {
    this.problem(problem);
    this.keyForm.hidden = false;
    this.keyForm.querySelector("input").focus();
  }

  /** Count down the seconds until a busy service may be asked again. Returns whether it was not aborted meanwhile. */
  async busy(problem, signal) {
    const seconds = Math.max(1, Math.ceil(problem.retryAfter));
    this.problem(problem);
    this.say(`The service is busy. The request is sent again in ${seconds} s.`);
    const { countdown } = this.parts;
    countdown.hidden = false;
    for (let left = seconds; left > 0 && !signal.aborted; left--) {
      countdown.textContent = `Again in ${left} s`;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    if (!signal.aborted) this.#clear();
    return !signal.aborted;
  }

  #clear() {
    const { progress, countdown, error } = this.parts;
    progress.hidden = countdown.hidden = error.hidden = true;
    this.keyForm.hidden = true;
  }
}
