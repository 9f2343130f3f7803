// The words of the reader's language; what a language lacks is said in English.

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
  words.tag = tag;
  words.number = (value, digits) =>
    value.toLocaleString(tag, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return words;
}
