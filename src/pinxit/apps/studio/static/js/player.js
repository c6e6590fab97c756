/** Plays frames that came as one tall picture, each below the one before. */

import { field, fill, h, icon } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    "player.canvas": "Animation",
    "player.play": "Play",
    "player.pause": "Pause",
    "player.position": "Frame",
    "player.frame": "Frame {at} of {n}",
    "player.speed": "Speed",
    "player.order": "After the last frame",
    "player.loop": "Begin again",
    "player.swing": "Play backwards",
    "player.once": "Stop",
  },
  ja: {
    "player.canvas": "アニメーション",
    "player.play": "再生",
    "player.pause": "一時停止",
    "player.position": "フレーム",
    "player.frame": "{n}フレーム中{at}番目",
    "player.speed": "速さ",
    "player.order": "最後のフレームの後",
    "player.loop": "最初に戻る",
    "player.swing": "逆再生する",
    "player.once": "止める",
  },
});

const SPEEDS = [0.25, 0.5, 1, 2, 4];

export class Player {
  constructor() {
    /** @type {ImageBitmap[]} */ this.frames = [];
    this.fps = 10;
    this.at = 0;
    this.playing = false;
    this.direction = 1;
    this.begun = 0;
    this.handle = 0;
    this.canvas = /** @type {HTMLCanvasElement} */ (
      h("canvas", {
        class: "player-canvas", role: "img", "aria-label": t("player.canvas"), onclick: () => this.toggle(),
      })
    );
    this.button = h("button", { type: "button", class: "primary bare", onclick: () => this.toggle() });
    this.scrub = /** @type {HTMLInputElement} */ (
      h("input", {
        type: "range", class: "player-scrub", min: "0", max: "0", step: "1", value: "0",
        "aria-label": t("player.position"),
        oninput: () => {
          this.pause();
          this.#draw(Number(this.scrub.value));
        },
      })
    );
    this.count = h("output", { class: "player-count" });
    this.speed = /** @type {HTMLSelectElement} */ (
      h("select", { class: "player-speed", onchange: () => this.#restart() },
        ...SPEEDS.map((s) => h("option", { value: String(s), selected: s === 1 }, `${s}×`)))
    );
    this.order = /** @type {HTMLSelectElement} */ (
      h("select", { class: "player-order" },
        ...["loop", "swing", "once"].map((o) => h("option", { value: o }, t(`player.${o}`))))
    );
    this.element = h("div", { class: "player" },
      h("div", { class: "player-stage" }, this.canvas),
      h("div", { class: "player-controls" }, this.button, this.scrub, this.count),
      h("div", { class: "player-options" },
        field(t("player.speed"), this.speed, { inline: true }),
        field(t("player.order"), this.order, { inline: true })));
    this.#label();
  }

  /**
   * Show an animation, and play it unless the person has asked the system for less motion.
   * @param {Blob} strip all frames as one picture
   * @param {number} n how many there are
   * @param {number} fps how many a second
   */
  async open(strip, n, fps) {
    const whole = await createImageBitmap(strip);
    const height = Math.round(whole.height / n);
    // Frame by frame: a strip is taller than what a graphics card takes as one texture.
    const frames = await Promise.all(
      Array.from({ length: n }, (_, i) => createImageBitmap(whole, 0, i * height, whole.width, height)),
    );
    const { width } = whole;
    whole.close();
    this.close();
    this.frames = frames;
    this.fps = fps;
    this.canvas.width = width;
    this.canvas.height = height;
    this.scrub.max = String(n - 1);
    this.#draw(0);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.play();
  }

  /** Stop, and give the frames' memory back. */
  close() {
    this.pause();
    for (const frame of this.frames) frame.close();
    this.frames = [];
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    if (this.frames.length < 2) return;
    if (this.order.value === "once" && this.at === this.frames.length - 1) this.#draw(0);
    this.playing = true;
    this.direction = 1;
    this.#restart();
    this.#label();
    this.handle = requestAnimationFrame((now) => this.#tick(now));
  }

  pause() {
    this.playing = false;
    cancelAnimationFrame(this.handle);
    this.#label();
  }

  /** The frame that is seen counts as shown just now. */
  #restart() {
    this.begun = performance.now();
  }

  /** @param {number} now milliseconds */
  #tick(now) {
    if (!this.playing) return;
    const each = 1000 / (this.fps * Number(this.speed.value));
    // Several at once where the screen is slower than the animation; none where it is faster.
    const steps = Math.floor((now - this.begun) / each);
    if (steps > 0) {
      this.begun += steps * each;
      this.#draw(this.#after(steps));
    }
    if (this.playing) this.handle = requestAnimationFrame((later) => this.#tick(later));
  }

  /**
   * The frame `steps` further on.
   * @param {number} steps
   */
  #after(steps) {
    const last = this.frames.length - 1;
    let at = this.at;
    // A page that was hidden for an hour does not walk through an hour of frames.
    for (let i = 0; i < Math.min(steps, 2 * this.frames.length); i++) {
      if (this.order.value === "swing") {
        if (at + this.direction < 0 || at + this.direction > last) this.direction = -this.direction;
        at += this.direction;
      } else if (at < last) {
        at += 1;
      } else if (this.order.value === "loop") {
        at = 0;
      } else {
        this.pause();
        break;
      }
    }
    return at;
  }

  /** @param {number} at */
  #draw(at) {
    this.at = at;
    this.scrub.value = String(at);
    const words = t("player.frame", { at: at + 1, n: this.frames.length });
    this.scrub.setAttribute("aria-valuetext", words);
    this.count.textContent = `${at + 1} / ${this.frames.length}`;
    this.canvas.dataset.frame = String(at);
    this.canvas.getContext("2d")?.drawImage(this.frames[at], 0, 0);
  }

  #label() {
    const name = t(this.playing ? "player.pause" : "player.play");
    this.button.setAttribute("aria-label", name);
    this.button.title = name;
    fill(this.button, icon(this.playing ? "pause" : "play"));
  }
}
