/** How the picture keeps up with the brush: one request on its way, at most one more wanted, and the latest wins. */

/** Between a change while drawing and the request for its picture. */
const DRAWING_MS = 120;
/** After a finished edit; as short as it may be without a request for each of two edits that come together. */
const FINISHED_MS = 30;

export class Follower extends EventTarget {
  /**
   * Events: "busy" as soon as work is wanted, "idle" when none is on its way or wanted.
   *
   * @param {(signal: AbortSignal) => Promise<void>} work makes and shows the picture of what is there when it is
   *   called; it handles its own errors
   */
  constructor(work) {
    super();
    this.#work = work;
  }

  #work;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #timer = null;
  /** @type {{abort: AbortController, drawing: boolean} | null} */
  #underway = null;
  #wanted = false;
  #drawing = false;

  get busy() {
    return this.#underway !== null || this.#timer !== null;
  }

  /** Something changed while a stroke is being drawn. More changes do not put it off: the picture goes along. */
  drawing() {
    this.#drawing = true;
    this.#timer ??= setTimeout(() => this.#begin(), DRAWING_MS);
    this.dispatchEvent(new Event("busy"));
  }

  /** An edit is finished. A request for a half-drawn stroke is dropped for it. */
  finished() {
    this.#drawing = false;
    if (this.#underway?.drawing) this.#underway.abort.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#begin(), FINISHED_MS);
    this.dispatchEvent(new Event("busy"));
  }

  /** Forget what is wanted and on its way. */
  stop() {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#wanted = false;
    if (this.#underway) this.#underway.abort.abort();
    else this.dispatchEvent(new Event("idle"));
  }

  async #begin() {
    this.#timer = null;
    if (this.#underway) {
      this.#wanted = true;
      return;
    }
    do {
      this.#wanted = false;
      const abort = new AbortController();
      this.#underway = { abort, drawing: this.#drawing };
      await this.#work(abort.signal);
    } while (this.#wanted);
    this.#underway = null;
    if (!this.busy) this.dispatchEvent(new Event("idle"));
  }
}
