// The server's responses. Its error messages are sentences, which are thrown as errors in the reader's
// language; so are the reasons and notes of images.

import { words } from "./language.js";

async function asked(path, options) {
  const answer = await fetch(`api/${path}`, options).catch(() => { throw new Error(words("gone")); });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw Object.assign(errorOf(told, answer.status), { status: answer.status });
}

const errorOf = ({ reason }, status) => new Error(reason ? words.said(reason) : `HTTP ${status}`);

function inWords(image) {
  if (image.reason) image.reason = words.said(image.reason);
  if (image.info?.notes) image.info.notes = image.info.notes.map(words.said);
  return image;
}

export async function changes(since) {
  const told = await (await asked(`changes?since=${since}`)).json();
  told.images.forEach(inWords);
  return told;
}

export const remove = (key) => asked(`images/${key}`, { method: "DELETE" });
export const frame = async (key, which, number, signal) =>
  (await asked(`images/${key}/${which}?frame=${number}`, { signal })).arrayBuffer();
export const figures = async (key, strength, number) =>
  (await asked(`images/${key}/figures?strength=${strength}&frame=${number}`)).json();
export const noise = async (key) => (await asked(`images/${key}/noise`)).arrayBuffer();
export const result = async (key, strength) => {
  const answer = await asked(`images/${key}/result?strength=${strength}`);
  const name = /filename\*=UTF-8''([^;]+)/.exec(answer.headers.get("content-disposition") ?? "")?.[1];
  return [await answer.blob(), name && decodeURIComponent(name)];
};
export const keep = async (key, strength) =>
  (await asked(`images/${key}/keep?strength=${strength}`, { method: "POST" })).json();
export const report = async (strength) =>
  (await asked(`report?strength=${strength}&lang=${words.tag}`, { method: "POST" })).json();

// Sends a file with XMLHttpRequest, as fetch does not report the progress of an upload.
export function send(file, name, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `api/images?name=${encodeURIComponent(name)}`);
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded / Math.max(1, event.total)));
    request.addEventListener("load", () => {
      let told = {};
      try {
        told = JSON.parse(request.responseText);
      } catch { /* not a response of this server; its status is enough */ }
      if (request.status === 201 && told.key) resolve(inWords(told));
      else reject(errorOf(told, request.status));
    });
    request.addEventListener("error", () => reject(new Error("")));
    request.send(file);
  });
}
