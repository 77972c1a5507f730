/* Requests to the service. Addresses are relative to the page, which may be below a path of a proxy. */

import { address } from "./data/snippets.js";
import { objects } from "./data/ndjson.js";

/** What the service refused or could not do, in its own words. */
export class Problem extends Error {
  constructor({ status = 0, title = "The service did not answer", detail = "", type = "" }, retryAfter = 0) {
    super(detail || title);
    Object.assign(this, { status, title, detail, type, retryAfter });
  }
}

/**
 * Yield the lines of an answer to a picture: its levels as they are ready, and the whole answer. With `kept` among the
 * parameters the service has the picture, and it is not sent. Throws Problem.
 */
export async function* segment(picture, parameters, key, signal) {
  const response = await post(picture, parameters, key, "application/x-ndjson, application/problem+json;q=0.9", signal);
  let whole = false;
  for await (const line of objects(response)) {
    if (line.event === "error") throw new Problem(line);
    whole = line.event === "done";
    yield line;
  }
  if (!whole) throw new Problem({ title: "The answer broke off", detail: "its last line is missing; try again" });
}

/** Return a picture's answer as a file: a cut-out or a label map. Throws Problem. */
export async function file(picture, parameters, key) {
  return (await post(picture, parameters, key, "image/png, application/problem+json;q=0.9")).blob();
}

/** Return a window of a kept picture's mask as a picture of its probabilities. Throws Problem. */
export async function rendered(view, key, signal) {
  return (await checked(fetch(address("render", view), { method: "POST", headers: headers(key), signal }))).blob();
}

/** Return the loaded models, the default first. Throws Problem. */
export async function models(key) {
  return (await checked(fetch(address("models", {}), { headers: headers(key) }))).json();
}

function post(picture, parameters, key, accept, signal) {
  const sent = { ...headers(key), accept };
  const request = { method: "POST", headers: sent, signal };
  if (!parameters.kept) {
    sent["content-type"] = picture.type.startsWith("image/") ? picture.type : "application/octet-stream";
    request.body = picture.blob;
  }
  return checked(fetch(address("segment", parameters), request));
}

function headers(key) {
  return key ? { "x-api-key": key } : {};
}

async function checked(asked) {
  let response;
  try {
    response = await asked;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: "it cannot be reached, or the connection was lost" });
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({ status: response.status, title: response.statusText }));
  throw new Problem({ status: response.status, ...told }, Number(response.headers.get("retry-after")) || 0);
}
