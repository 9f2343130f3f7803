// The server's answers. Its errors are sentences, and come as errors with that sentence.

async function asked(path, options) {
  const answer = await fetch(`api/${path}`, options);
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(told.reason ?? `HTTP ${answer.status}`), { status: answer.status });
}

export const changes = async (since) => (await asked(`changes?since=${since}`)).json();
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
export const report = async (strength) => (await asked(`report?strength=${strength}`, { method: "POST" })).json();

// Sends a file; fetch cannot tell how far it is, so this is the older way.
export function send(file, name, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `api/images?name=${encodeURIComponent(name)}`);
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded / Math.max(1, event.total)));
    request.addEventListener("load", () => {
      const told = JSON.parse(request.responseText || "{}");
      if (request.status === 201) resolve(told);
      else reject(new Error(told.reason ?? `HTTP ${request.status}`));
    });
    request.addEventListener("error", () => reject(new Error("")));
    request.send(file);
  });
}
