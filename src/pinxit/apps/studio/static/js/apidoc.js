/** The page of the API: what openapi.json says, to be read by people. */

import { fill, h } from "./dom.js";
import { addWords, language, t } from "./i18n.js";

/**
 * @typedef {object} Schema
 * @property {string} [$ref]
 * @property {string} [type]
 * @property {string} [title]
 * @property {string} [description]
 * @property {string} [pattern]
 * @property {string} [format]
 * @property {unknown} [const]
 * @property {unknown[]} [enum]
 * @property {unknown} [default]
 * @property {unknown[]} [examples]
 * @property {number} [minimum]
 * @property {number} [maximum]
 * @property {number} [exclusiveMinimum]
 * @property {number} [maxLength]
 * @property {Schema[]} [anyOf]
 * @property {Schema} [items]
 * @property {{[name: string]: Schema}} [properties]
 * @property {string[]} [required]
 */
/** @typedef {{name: string, in: string, required?: boolean, description?: string, schema: Schema}} Parameter */
/** @typedef {{[kind: string]: {schema?: Schema}}} Content */
/**
 * @typedef {object} Operation
 * @property {string} operationId
 * @property {string} summary
 * @property {string} [description]
 * @property {string[]} [tags]
 * @property {Parameter[]} [parameters]
 * @property {{content: Content}} [requestBody]
 * @property {{[status: string]: {description: string, content?: Content,
 *   headers?: {[name: string]: {description?: string}}}}} responses
 */
/**
 * @typedef {object} Document
 * @property {{title: string, summary: string, description: string}} info
 * @property {{[path: string]: {[method: string]: Operation}}} paths
 * @property {{schemas: {[name: string]: Schema}}} components
 */

const WHERE = "api/v1/openapi.json";

addWords({
  en: {
    "api.title": "The studio's API", "api.studio": "Back to the studio", "api.document": "The document for programs",
    "api.failed": "The document could not be read.", "api.parameters": "In the address", "api.body": "Body",
    "api.answers": "Answers", "api.example": "Example", "api.field": "Field", "api.kind": "Kind", "api.about": "About",
    "api.optional": "optional", "api.token": "Where the studio asks for a token, add {header} to each request.",
  },
  ja: {
    "api.title": "スタジオの API", "api.studio": "スタジオに戻る", "api.document": "プログラム用の定義ファイル",
    "api.failed": "定義ファイルを読み込めませんでした。", "api.parameters": "アドレスのパラメーター",
    "api.body": "リクエスト本文", "api.answers": "応答", "api.example": "例", "api.field": "項目", "api.kind": "型",
    "api.about": "説明", "api.optional": "省略可",
    "api.token": "トークンが必要な場合は、すべてのリクエストに {header} を付けてください。",
  },
});

/** Reads one document. */
class Reader {
  /** @param {Document} document */
  constructor(document) {
    this.document = document;
  }

  /**
   * @param {Schema} schema
   * @returns {Schema} what it refers to
   */
  resolved(schema) {
    const name = schema.$ref?.split("/").pop();
    return name ? (this.document.components.schemas[name] ?? {}) : schema;
  }

  /**
   * @param {Schema | undefined} schema
   * @returns {string} in a word or two
   */
  kind(schema) {
    if (!schema) return "";
    if (schema.$ref) return schema.$ref.split("/").pop() ?? "";
    if (schema.anyOf) return schema.anyOf.map((part) => this.kind(part)).join(" | ");
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
    if (schema.const !== undefined) return JSON.stringify(schema.const);
    if (schema.type === "array") return `[${this.kind(schema.items)}]`;
    if (schema.format === "binary") return "file";
    return [schema.type ?? "any", this.range(schema)].filter(Boolean).join(" ");
  }

  /**
   * @param {Schema} schema
   * @returns {string}
   */
  range(schema) {
    const low = schema.minimum ?? schema.exclusiveMinimum;
    if (low !== undefined && schema.maximum !== undefined) return `${low}..${schema.maximum}`;
    return schema.pattern ?? "";
  }

  /**
   * @param {Schema} schema
   * @returns {string} what it is, as the document tells it
   */
  about(schema) {
    return schema.description ?? schema.anyOf?.map((part) => part.description).find(Boolean) ?? "";
  }

  /**
   * A value as a request may have it.
   *
   * @param {string} name
   * @param {Schema} schema
   * @param {number} [deep]
   * @returns {unknown}
   */
  example(name, schema, deep = 0) {
    const [option = schema] = schema.anyOf ?? [];
    const found = this.resolved(option);
    if (found.examples) return found.examples[0];
    if (schema.default !== undefined) return schema.default;
    if (found.enum) return found.enum[0];
    if (found.type === "object") {
      // Of what may be left out only what all models take.
      const said = (/** @type {[string, Schema]} */ [n, s]) => found.required?.includes(n) || n === "style" || (s.default ?? null) !== null;
      const fields = Object.entries(found.properties ?? {}).filter(said);
      return deep > 3 ? {} : Object.fromEntries(fields.map(([n, s]) => [n, this.example(n, s, deep + 1)]));
    }
    if (found.type === "array") return [];
    if (found.type === "boolean") return false;
    if (found.type === "string") return name === "model" ? "demo" : name;
    return found.minimum ?? 0;
  }
}

/**
 * @param {Reader} reader
 * @param {[string, Schema, boolean, string][]} rows name, schema, whether it must be there, about
 */
function table(reader, rows) {
  const head = ["api.field", "api.kind", "api.about"].map((key) => h("th", { scope: "col" }, t(key)));
  const body = rows.map(([name, schema, required, about]) =>
    h(
      "tr",
      null,
      h("td", null, h("code", null, name)),
      h("td", null, h("code", null, reader.kind(schema))),
      h("td", null, [required ? "" : t("api.optional"), about].filter(Boolean).join(" · ")),
    ));
  const rest = h("tbody", null, ...body);
  return h("div", { class: "scroll" }, h("table", null, h("thead", null, h("tr", null, ...head)), rest));
}

/**
 * @param {Reader} reader
 * @param {string} path
 * @param {string} method
 * @param {Operation} operation
 * @returns {string} a command
 */
function curl(reader, path, method, operation) {
  const model = path.includes("/models/");
  const at = path.replace("{id}", model ? "demo" : path.includes("/pictures/") ? "0".repeat(32) : "1");
  const queries = (operation.parameters ?? []).filter((parameter) => parameter.in === "query");
  const query = queries.map((p) => `${p.name}=${reader.example(p.name, p.schema)}`).join("&");
  const lines = ["curl"];
  if (method !== "get" && !operation.requestBody) lines[0] += ` -X ${method.toUpperCase()}`;
  const content = operation.requestBody?.content ?? {};
  const form = content["application/json"]?.schema;
  if (form) lines.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(reader.example("", form))}'`);
  else if (operation.requestBody) lines.push("-H 'Content-Type: image/png'", "--data-binary @picture.png");
  const given = Object.keys(operation.responses["200"]?.content ?? {})[0] ?? "";
  if (given.startsWith("image/")) lines.push(`-o made.${given.slice(6)}`);
  lines.push(`'${location.origin}${at}${query && `?${query}`}'`);
  return lines.join(" \\\n  ");
}

/**
 * @param {Reader} reader
 * @param {string} path
 * @param {string} method
 * @param {Operation} operation
 */
function described(reader, path, method, operation) {
  const parts = [];
  if (operation.description) parts.push(h("p", null, operation.description));
  const parameters = operation.parameters ?? [];
  if (parameters.length) {
    parts.push(h("h4", null, t("api.parameters")));
    parts.push(table(reader, parameters.map((p) => [p.name, p.schema, p.required ?? false, p.description ?? ""])));
  }
  const content = operation.requestBody?.content;
  if (content) {
    const form = content["application/json"]?.schema;
    parts.push(h("h4", null, `${t("api.body")}: ${form ? "application/json" : Object.keys(content).join(", ")}`));
    const schema = form && reader.resolved(form);
    const fields = Object.entries(schema?.properties ?? {});
    if (fields.length) {
      const required = schema?.required ?? [];
      parts.push(table(reader, fields.map(([n, s]) => [n, s, required.includes(n), reader.about(s)])));
    }
  }
  parts.push(h("h4", null, t("api.answers")));
  for (const [status, answer] of Object.entries(operation.responses)) {
    const [kind, body] = Object.entries(answer.content ?? {})[0] ?? ["", {}];
    const what = kind.startsWith("image/") ? kind : reader.kind(body.schema);
    const found = body.schema && status === "200" ? reader.resolved(body.schema) : {};
    const fields = Object.entries(found.properties ?? {});
    const about = ` ${answer.description}${what && " · "}`;
    parts.push(h("p", null, h("code", null, status), about, h("code", null, what)));
    if (fields.length) parts.push(table(reader, fields.map(([n, s]) => [n, s, true, reader.about(s)])));
    const headers = Object.entries(answer.headers ?? {});
    if (headers.length) {
      parts.push(table(reader, headers.map(([n, told]) => [n, { type: "string" }, true, told.description ?? ""])));
    }
  }
  parts.push(h("h4", null, t("api.example")), h("pre", null, curl(reader, path, method, operation)));
  return h(
    "details",
    { id: operation.operationId },
    h("summary", null, h("code", { class: "method" }, method.toUpperCase()), h("code", null, path),
      h("span", { class: "what" }, operation.summary)),
    ...parts,
  );
}

/** @param {HTMLElement} root */
async function show(root) {
  document.documentElement.lang = language();
  const home = h("a", { href: "./" }, t("api.studio"));
  const links = h("p", null, home, " · ", h("a", { href: WHERE }, t("api.document")));
  try {
    const answer = await fetch(WHERE);
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    const reader = new Reader(/** @type {Document} */ (await answer.json()));
    /** @type {Map<string, HTMLElement[]>} */
    const groups = new Map();
    for (const [path, methods] of Object.entries(reader.document.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const tag = operation.tags?.[0] ?? "";
        groups.set(tag, [...(groups.get(tag) ?? []), described(reader, path, method, operation)]);
      }
    }
    const { summary, description } = reader.document.info;
    fill(
      root,
      h("h1", null, t("api.title")),
      links,
      h("p", null, summary),
      ...description.split("\n\n").map((text) => h("p", null, text)),
      h("p", null, t("api.token", { header: "Authorization: Bearer TOKEN" })),
      ...[...groups].map(([tag, operations]) => h("section", null, h("h2", null, tag), ...operations)),
    );
    const wanted = document.getElementById(location.hash.slice(1));
    if (wanted instanceof HTMLDetailsElement) {
      wanted.open = true;
      wanted.scrollIntoView();
    }
  } catch (error) {
    fill(root, h("h1", null, t("api.title")), links, h("p", { role: "alert" }, t("api.failed"), " ", String(error)));
  }
}

const root = document.getElementById("api");
if (root) void show(root);
