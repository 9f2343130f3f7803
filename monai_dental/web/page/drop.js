// Dropped or chosen files and folders, with all their contents. An unreadable file is returned
// as null, with its name.

const PASSED_OVER = /(^|\/)(\.|DICOMDIR$|Thumbs\.db$|desktop\.ini$)/i;

export function listenToDrops(target, onFiles) {
  let depth = 0;
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  target.addEventListener("dragenter", (event) => {
    if (!isFiles(event)) return;
    depth += 1;
    target.classList.add("dropping");
    event.preventDefault();
  });
  target.addEventListener("dragover", (event) => isFiles(event) && event.preventDefault());
  target.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (depth === 0) target.classList.remove("dropping");
  });
  target.addEventListener("drop", async (event) => {
    event.preventDefault();
    depth = 0;
    target.classList.remove("dropping");
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const entries = items.map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    // Files created by a script have no entry.
    const plain = entries.length ? [] : [...event.dataTransfer.files].map((file) => ({ file, name: file.name }));
    onFiles(plain);
    for (const entry of entries) for await (const found of walk(entry)) onFiles([found]);
  });
}

export function chosen(input) {
  return [...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
}

async function* walk(entry) {
  if (PASSED_OVER.test(entry.fullPath)) return;
  const name = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) {
    yield { file: await new Promise((resolve) => entry.file(resolve, () => resolve(null))), name };
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const entries = await new Promise((resolve) => reader.readEntries(resolve, () => resolve(null)));
    if (!entries) yield { file: null, name };
    if (!entries?.length) return;
    for (const each of entries) yield* walk(each);
  }
}

// Calls a function for each item, one at a time, in order.
export class Queue {
  constructor(run) {
    this.run = run;
    this.items = [];
    this.isRunning = false;
  }

  async add(items) {
    this.items.push(...items.filter((item) => !PASSED_OVER.test(item.name)));
    if (this.isRunning) return;
    this.isRunning = true;
    try {
      while (this.items.length) await this.run(this.items.shift());
    } finally {
      this.isRunning = false;
    }
  }
}
