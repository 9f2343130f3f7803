// The words in the reader's language; missing ones are shown in English. `words.py` does the same on the server.

export function chooseLanguage(languages, wanted) {
  for (const tag of wanted) {
    const found = [tag, tag.split("-")[0]].find((each) => each in languages);
    if (found) return found;
  }
  return "en";
}

export function makeWords(languages, tag) {
  const own = languages[tag] ?? {};
  const words = (key, values = {}) => {
    const text = own[key] ?? languages.en[key] ?? key;
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  };
  const sentences = Object.entries(languages.en).filter(([key]) => key.startsWith("said."))
    .sort(([, one], [, other]) => beginning(other) - beginning(one) || other.length - one.length)
    .map(([key, text]) => [key, patternOf(text)]);
  // Returns a sentence of the server in this language; its English words tell which it is.
  words.said = (sentence) => {
    for (const [key, pattern] of sentences) {
      const found = pattern.exec(sentence);
      if (!found) continue;
      const { said } = found.groups ?? {};
      return words(key, said ? { ...found.groups, said: words.said(said) } : found.groups);
    }
    return words("said", { sentence });
  };
  words.tag = tag;
  words.number = (value, digits) =>
    value.toLocaleString(tag, { minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: "negative" });
  return words;
}

// Sorts "cut off: {found} bytes" before "{found} bytes".
const beginning = (text) => text.split("{")[0].length;

function patternOf(text) {
  const escaped = text.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{(\w+)\}/g, "(?<$1>.+)");
  return new RegExp(`^${escaped}$`, "s");
}
