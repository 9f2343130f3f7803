// The words of the page, in the language that the browser asks for.

import { chooseLanguage, makeWords } from "../viewer/words.js";

const { languages } = JSON.parse(document.getElementById("data").textContent);
const tag = chooseLanguage(languages, navigator.languages);
export const words = makeWords(languages, tag);
