/** The studio's HTTP API, one method a call. docs: /api/v1 in docs/formats.md and the server's own API page. */

import { t } from "./i18n.js";

/** @typedef {"required" | "optional" | "no"} Need */
/** @typedef {{id: number, name: string, color: [number, number, number], group: string}} Label */
/**
 * @typedef {object} LabelSet
 * @property {string} name
 * @property {Label[]} labels
 * @property {number[]} [ignore] file ids that mean 'unknown'
 * @property {{id: number, color: [number, number, number]} | null} [unknown]
 * @property {string} [note]
 */
/**
 * @typedef {object} Model
 * @property {string} id
 * @property {string} name
 * @property {string} method "spade", "pix2pix", …
 * @property {"map" | "mixed" | "picture" | "sentence" | "photo" | "generator" | "segmenter" | "other"} kind what it
 *   starts from; mixed: any of its inputs; a generator from chance; a segmenter paints nothing
 * @property {boolean} embedded
 * @property {[number, number] | null} size height, width
 * @property {{[input: string]: Need}} inputs "map", "sketch", "text", "style", "picture"
 * @property {number} [first_style] the seed to begin with
 * @property {boolean} [style_picture] whether a style can be taken from a picture
 * @property {LabelSet | null} label_set
 * @property {string[]} directions
 * @property {[number, number][] | null} scales
 * @property {[number, number][] | null} stages height and width of each stage's pictures, of StackGAN
 * @property {boolean} box whether a sentence's picture may be told its place
 * @property {string[]} sentences to begin with
 * @property {{[key: string]: string}} card
 * @property {number} bytes
 */
/**
 * @typedef {{seed: number} | {picture: string} | {between: [Style, Style], at: number}} Style
 */
/**
 * @typedef {object} Job
 * @property {number} id
 * @property {"train" | "animate" | "sketch"} kind
 * @property {"queued" | "running" | "done" | "failed" | "cancelled"} state
 * @property {string} name
 * @property {string | null} model of a finished training, or what an animation is of
 * @property {number} progress 0..1
 * @property {string} stage
 * @property {number | null} seconds_left
 * @property {string} message
 * @property {string} created
 * @property {string | null} preset
 * @property {number} preview changes when there is a new one; 0 = none
 * @property {number} previews how many there are by now
 */
/**
 * @typedef {object} GalleryEntry
 * @property {number} id
 * @property {string} created
 * @property {string} kind
 * @property {string} model
 * @property {{[field: string]: any}} recipe the request that made it
 * @property {string} picture
 */
/** @typedef {{id: string, name: string, missing: string[], foreign: string[]}} Unfit a segmenter of other labels */
/** @typedef {{name: string, summary: string, seconds: number, memory: number}} Forecast */
/**
 * @typedef {object} Generation what a generator's picture is made of
 * @property {number} seed
 * @property {number} truncation
 * @property {{seed: number, at: number} | null} [mix]
 * @property {number[]} [strengths]
 * @property {[number, number] | null} [layers]
 */
/**
 * @typedef {object} Illustration what a picture of a sentence is made of
 * @property {string} text
 * @property {number} seed
 * @property {number | null} stage 1 or 2; null: the last
 * @property {{text: string, at: number} | null} between another sentence, and how far towards it
 * @property {[number, number, number, number] | null} box x, y, width, height in parts of the side
 */
/** @typedef {{blob: Blob, id: string, seconds: number}} Made a picture, its id on the server, and how long it took */
/** @typedef {{id: string, width: number, height: number, channels: number, bits: number}} Uploaded */
/** @typedef {{version: string, device: string, demo: boolean, jobs: {running: number, queued: number},
 *   limits: {bytes: number, pixels: number}}} Status */

/** What the server refused; `message` is one line for people, `code` is for programs. */
export class ApiError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {number} status 0: no answer came
   */
  constructor(code, message, status) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
  }
}

export class Api {
  /** @param {string} [root] where the API is */
  constructor(root = "api/v1") {
    this.root = new URL(`${root}/`, document.baseURI).href;
  }

  /**
   * @param {string} path
   * @param {RequestInit} [how]
   * @returns {Promise<Response>}
   */
  async #ask(path, how = {}) {
    let answer;
    try {
      answer = await fetch(this.root + path, how);
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new ApiError("no-answer", t("shell.offline"), 0);
    }
    if (answer.ok) return answer;
    let code = "failed";
    let message = `${answer.status} ${answer.statusText}`;
    try {
      const { error } = await answer.json();
      if (typeof error?.code === "string") ({ code, message } = error);
    } catch {
      // Not our server's JSON, a proxy's page perhaps: the status line says it.
    }
    throw new ApiError(code, message, answer.status);
  }

  /**
   * @param {string} path
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  async #get(path, signal) {
    return (await this.#ask(path, { signal })).json();
  }

  /**
   * @param {string} path
   * @param {object} [body]
   * @param {string} [method]
   * @returns {Promise<any>}
   */
  async #send(path, body, method = "POST") {
    const answer = await this.#ask(path, {
      method,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body ?? {}),
    });
    const text = await answer.text();
    return text ? JSON.parse(text) : null;
  }

  /**
   * Ask for a picture. Superseded by a later request of the same client, or aborted here: null, which is no error.
   *
   * @param {string} path
   * @param {object} body
   * @param {AbortSignal} [signal]
   * @returns {Promise<Made | null>}
   */
  async #picture(path, body, signal) {
    try {
      const answer = await this.#ask(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
        signal,
      });
      return {
        blob: await answer.blob(),
        id: answer.headers.get("X-Pinxit-Picture") ?? "",
        seconds: Number(answer.headers.get("X-Pinxit-Seconds") ?? "0"),
      };
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return null;
      if (error instanceof ApiError && error.code === "superseded") return null;
      throw error;
    }
  }

  /** @returns {Promise<Status>} */
  status() {
    return this.#get("status");
  }

  /** @returns {Promise<{models: Model[], problems: {[path: string]: string}}>} */
  models() {
    return this.#get("models");
  }

  /**
   * @param {Blob} blob a picture file
   * @param {"photo" | "map" | "mask" | "sketch"} as
   * @param {AbortSignal} [signal]
   * @returns {Promise<Uploaded>}
   */
  async upload(blob, as, signal) {
    const headers = { "Content-Type": blob.type || "application/octet-stream" };
    return (await this.#ask(`pictures?as=${as}`, { method: "POST", headers, body: blob, signal })).json();
  }

  /**
   * @param {string} id
   * @returns {string} for an <img>
   */
  pictureUrl(id) {
    return `${this.root}pictures/${encodeURIComponent(id)}`;
  }

  /**
   * @param {string} id
   * @returns {Promise<Blob>}
   */
  async picture(id) {
    return (await this.#ask(`pictures/${encodeURIComponent(id)}`)).blob();
  }

  /**
   * Any map file, of ids or of colours, as the model's ids.
   *
   * @param {string} model
   * @param {string} picture
   * @returns {Promise<{map: string, width: number, height: number, labels: number[]}>}
   */
  map(model, picture) {
    return this.#send(`models/${encodeURIComponent(model)}/map`, { picture });
  }

  /**
   * @param {string} model
   * @returns {Promise<{title: {en: string, ja?: string}, map: string}[]>}
   */
  layouts(model) {
    return this.#get(`models/${encodeURIComponent(model)}/layouts`);
  }

  /**
   * What finds a model's labels in photos, and what segments but does not find these.
   *
   * @param {string} model
   * @returns {Promise<{segmenters: {id: string, name: string}[], unfit: Unfit[]}>}
   */
  segmenters(model) {
    return this.#get(`models/${encodeURIComponent(model)}/segmenters`);
  }

  /**
   * A photo as a map: the picture is of ids.
   *
   * @param {string} model
   * @param {{picture: string, size: [number, number], client: string}} body size: height, width
   */
  photoToMap(model, body) {
    return this.#picture(`models/${encodeURIComponent(model)}/photo-to-map`, body);
  }

  /**
   * A photo as a sketch: the picture is grey, lines dark on white.
   *
   * @param {string} model
   * @param {{picture: string, size: [number, number], drawer?: string, edges?: boolean, client: string}} body size:
   *   height, width
   */
  photoToSketch(model, body) {
    return this.#picture(`models/${encodeURIComponent(model)}/photo-to-sketch`, body);
  }

  /**
   * The photo that a model has learnt.
   *
   * @param {string} model
   * @returns {Promise<{picture: string}>}
   */
  photo(model) {
    return this.#get(`models/${encodeURIComponent(model)}/photo`);
  }

  /**
   * @param {string} model
   * @returns {Promise<{title?: {en: string, ja?: string}, picture: string}[]>}
   */
  outlines(model) {
    return this.#get(`models/${encodeURIComponent(model)}/outlines`);
  }

  /**
   * @param {string} model
   * @param {{map: string | null, sketch?: string | null, text?: string | null, style: Style | null, client: string}}
   *   body
   * @param {AbortSignal} [signal]
   */
  paint(model, body, signal) {
    return this.#picture(`models/${encodeURIComponent(model)}/paint`, body, signal);
  }

  /**
   * @param {string} model
   * @param {{picture: string, direction: string | null, seed: number, client: string}} body
   * @param {AbortSignal} [signal]
   */
  translate(model, body, signal) {
    return this.#picture(`models/${encodeURIComponent(model)}/translate`, body, signal);
  }

  /**
   * @param {string} model
   * @param {{seed: number, start_scale: number, size: [number, number] | null, client: string}} body
   * @param {AbortSignal} [signal]
   */
  sample(model, body, signal) {
    return this.#picture(`models/${encodeURIComponent(model)}/sample`, body, signal);
  }

  /**
   * @param {string} model
   * @param {{factor: number, seed: number, client: string}} body
   * @param {AbortSignal} [signal]
   */
  superResolve(model, body, signal) {
    return this.#picture(`models/${encodeURIComponent(model)}/super-resolve`, body, signal);
  }

  /**
   * @param {string} model
   * @param {{picture: string, mask: string, start_scale: number, seed: number, client: string}} body
   * @param {AbortSignal} [signal]
   */
  harmonize(model, body, signal) {
    return this.#picture(`models/${encodeURIComponent(model)}/harmonize`, body, signal);
  }

  /**
   * @param {string} model
   * @param {{picture: string, mask: string, start_scale: number, seed: number, client: string}} body
   * @param {AbortSignal} [signal]
   */
  edit(model, body, signal) {
    return this.#picture(`models/${encodeURIComponent(model)}/edit`, body, signal);
  }

  /**
   * @param {string} model
   * @param {{picture: string, start_scale: number, seed: number, client: string}} body
   * @param {AbortSignal} [signal]
   */
  paintToImage(model, body, signal) {
    return this.#picture(`models/${encodeURIComponent(model)}/paint-to-image`, body, signal);
  }

  /**
   * @param {string} model
   * @param {{client: string}} body
   * @param {AbortSignal} [signal]
   */
  reconstruct(model, body, signal) {
    return this.#picture(`models/${encodeURIComponent(model)}/reconstruct`, body, signal);
  }

  /**
   * @param {string} model a generator
   * @param {Generation & {client: string}} body
   * @param {AbortSignal} [signal]
   */
  generate(model, body, signal) {
    return this.#picture(`models/${encodeURIComponent(model)}/generate`, body, signal);
  }

  /**
   * @param {string} model one of sentences
   * @param {Illustration & {client: string}} body
   * @param {AbortSignal} [signal]
   */
  illustrate(model, body, signal) {
    return this.#picture(`models/${encodeURIComponent(model)}/illustrate`, body, signal);
  }

  /**
   * A sketch as the training of a generator will see it.
   *
   * @param {string} model
   * @param {string} picture
   * @returns {Promise<{picture: string, notes: string[]}>}
   */
  seenSketch(model, picture) {
    return this.#send(`models/${encodeURIComponent(model)}/sketch`, { picture });
  }

  /** @returns {Promise<GalleryEntry[]>} */
  async gallery() {
    const answer = await this.#get("gallery");
    return Array.isArray(answer) ? answer : answer.entries;
  }

  /**
   * @param {string} picture
   * @returns {Promise<GalleryEntry>}
   */
  keep(picture) {
    return this.#send("gallery", { picture });
  }

  /** @param {number} id */
  removeKept(id) {
    return this.#send(`gallery/${id}`, {}, "DELETE");
  }

  /**
   * Make a kept picture again.
   *
   * @param {number} id
   * @param {string} client
   * @returns {Promise<(Made & {same: boolean}) | null>} `same`: bit-equal to the kept one
   */
  async again(id, client) {
    try {
      const answer = await this.#ask(`gallery/${id}/again`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ client }),
      });
      return {
        blob: await answer.blob(),
        id: answer.headers.get("X-Pinxit-Picture") ?? "",
        seconds: Number(answer.headers.get("X-Pinxit-Seconds") ?? "0"),
        same: answer.headers.get("X-Pinxit-Same") === "true",
      };
    } catch (error) {
      if (error instanceof ApiError && error.code === "superseded") return null;
      throw error;
    }
  }

  /** @param {number} id */
  keptPictureUrl(id) {
    return `${this.root}gallery/${id}/picture`;
  }

  /** @param {number} id */
  thumbnailUrl(id) {
    return `${this.root}gallery/${id}/thumbnail`;
  }

  /**
   * @param {string} picture
   * @returns {Promise<Forecast[]>}
   */
  async presets(picture) {
    return (await this.#get(`presets/singan?picture=${encodeURIComponent(picture)}`)).presets;
  }

  /** @returns {Promise<Job[]>} */
  async jobs() {
    const answer = await this.#get("jobs");
    return Array.isArray(answer) ? answer : answer.jobs;
  }

  /**
   * @param {number} id
   * @returns {Promise<Job>}
   */
  job(id) {
    return this.#get(`jobs/${id}`);
  }

  /**
   * @param {{picture: string, preset: string, name: string, seed: number}} body
   * @returns {Promise<Job>}
   */
  train(body) {
    return this.#send("jobs/train", body);
  }

  /**
   * @param {{model: string, frames: number, start_scale: number, alpha: number, beta: number, seed: number,
   *   loop: boolean, fps: number}} body
   * @returns {Promise<Job>}
   */
  animate(body) {
    return this.#send("jobs/animate", body);
  }

  /**
   * @param {{model: string, photosketch: string, sketches: string[], preset: string, name: string, seed: number}} body
   * @returns {Promise<Job>}
   */
  customise(body) {
    return this.#send("jobs/sketch", body);
  }

  /** @param {number} id */
  cancel(id) {
    return this.#send(`jobs/${id}/cancel`);
  }

  /** @param {number} id */
  resume(id) {
    return this.#send(`jobs/${id}/resume`);
  }

  /** @param {number} id */
  removeJob(id) {
    return this.#send(`jobs/${id}`, {}, "DELETE");
  }

  /**
   * All frames of an animation, one below the other.
   *
   * @param {number} id
   * @returns {Promise<{blob: Blob, frames: number, fps: number}>}
   */
  async frames(id) {
    const answer = await this.#ask(`jobs/${id}/frames`);
    return {
      blob: await answer.blob(),
      frames: Number(answer.headers.get("X-Pinxit-Frames")),
      fps: Number(answer.headers.get("X-Pinxit-Fps")),
    };
  }

  /**
   * @param {Job} job
   * @param {number} [at] the oldest is 0; the newest where it is left out
   */
  previewUrl(job, at) {
    return `${this.root}jobs/${job.id}/preview?${at === undefined ? `n=${job.preview}` : `at=${at}`}`;
  }

  /** @param {Job} job */
  resultUrl(job) {
    return `${this.root}jobs/${job.id}/result`;
  }
}
