// The report's page: a viewer for each image, created when the image is about to scroll into view.

document.documentElement.classList.add("live");
const { lang } = document.documentElement; // the page has the words of this language alone
const words = makeWords({ en: {}, [lang]: JSON.parse(document.getElementById("words").textContent) }, lang);
const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
document.querySelector("#theme")?.remove(); // a browser may save the modified page
document.querySelector(".top").append(openTheme(words, isDark ? "dark" : "light"));

async function openArticle(article) {
  const info = JSON.parse(article.querySelector(".info").textContent);
  const canvas = article.querySelector(".curve");
  const input = article.querySelector(".row");
  const place = article.querySelector(".place");
  place.style.setProperty("--ratio", info.columns / info.rows);
  place.replaceChildren();
  const viewer = new Viewer(place, { words, isPassive: true, onPoint: ({ y }) => setRow(Math.floor(y)) });
  const plane = (kind, form) => {
    const script = article.querySelector(`[data-plane="${kind}"]`);
    return script && Plane.unpack(script.textContent, form);
  };
  const draw = () => drawProfile(canvas, viewer.state, viewer.state.row ?? Number(input.value) - 1);
  const setRow = (row) => {
    if (!Number.isInteger(row)) return;
    const kept = Math.min(info.rows - 1, Math.max(0, row));
    input.value = kept + 1;
    viewer.set({ row: kept });
    draw();
  };
  const picture = { info, before: await plane("before", info), after: await plane("after", info) };
  const noise = await plane("noise", { dtype: "u1", ...info.noise });
  viewer.show(noise ? { ...picture, noise, noiseScale: info.noise.scale } : picture);
  input.addEventListener("change", () => setRow(Number(input.value) - 1));
  new ResizeObserver(draw).observe(canvas);
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  article.classList.add("ready");
}

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    openArticle(target).catch(() => target.classList.add("bare")); // the browser cannot decompress the data
  }
}, { rootMargin: "100%" });
for (const article of document.querySelectorAll("article.image")) near.observe(article);
