// Reports in a real browser: what axe-core finds, requests, sizes, times, and where the keyboard goes. Prints a line of JSON each.
//
// tests/real_browser.py runs it: node tests/real_browser.mjs CHROMIUM '{"pages": [...], "looks": [...]}'
// pages: files; looks: {width, height, dark, open (unfold everything), axe, tab (the most presses), poke (send every
// element the events that handlers wait for), save (a folder for the first figure), shot (a PNG), print (the tables that
// A4 cuts)} each.

import { createRequire } from "node:module";
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const load = createRequire(process.env.BAKEOFF_NPM + "/");
const puppeteer = load("puppeteer-core");
const axe = readFileSync(load.resolve("axe-core/axe.min.js"), "utf-8");
const [chromium, told] = process.argv.slice(2);
const { pages, looks } = JSON.parse(told);
const browser = await puppeteer.launch({
  executablePath: chromium, headless: true, args: ["--no-sandbox", "--disable-gpu"], protocolTimeout: 600000,
});

/** Every place where a press of Tab stops, until the page is left; and the elements that should be reached but are not. */
async function tabbed(page, most) {
  await page.evaluate(() => { window.reached = new Set(); document.activeElement.blur(); scrollTo(0, 0); });
  let stops = 0;
  for (; stops < most; stops += 1) {
    await page.keyboard.press("Tab");
    const inside = await page.evaluate(() => {
      const one = document.activeElement;
      if (one === document.body || window.reached.has(one)) return false;
      window.reached.add(one);
      return true;
    });
    if (!inside) break;
  }
  const missed = await page.evaluate(() => {
    const shown = (one) => one.checkVisibility({ visibilityProperty: true });
    const radios = new Set([...window.reached].filter((one) => one.type === "radio").map((one) => one.name));
    const wanted = [...document.querySelectorAll("a[href], summary, input, button, [tabindex='0']")].filter(shown);
    // a group of radio buttons is one stop: arrow keys move inside it
    const reached = (one) => window.reached.has(one) || (one.type === "radio" && radios.has(one.name));
    return wanted.filter((one) => !reached(one)).map((one) => one.outerHTML.slice(0, 160));
  });
  return { stops, missed };
}

/** The first picture, saved by its link into a folder: its path. */
async function saved(page, session, folder) {
  await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder });
  const name = await page.evaluate(() => {
    const link = document.querySelector("a[download]");
    link?.click();
    return link?.download ?? null;
  });
  const path = join(folder, name ?? "");
  for (let tries = 0; name && tries < 100 && !existsSync(path); tries += 1) await new Promise((done) => setTimeout(done, 100));
  return path;
}

/** The tables that are wider than a sheet of A4 without its margins; those with very many columns are printed sideways. */
async function cut(page) {
  await page.emulateMediaType("print");
  const found = [];
  for (const [boxes, width] of [[".scroll:not(.many), .two > *", 718], [".many", 1047]]) {
    await page.setViewport({ width, height: 1000 });
    found.push(...await page.evaluate((boxes) => [...document.querySelectorAll(boxes)]
      .flatMap((one) => [...one.querySelectorAll("table, svg")])
      .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
      .map((one) => `${Math.round(one.getBoundingClientRect().right)} ${one.textContent.trim().slice(0, 80)}`), boxes));
  }
  return found;
}

async function looked(file, look) {
  const page = await browser.newPage();
  const requests = [], errors = [];
  const address = /^https?:/.test(file) ? file : pathToFileURL(file).href;
  page.on("request", (one) => one.url().split("#")[0] === address || requests.push(one.url().slice(0, 200)));
  page.on("dialog", (one) => { errors.push("dialog: " + one.message()); one.dismiss(); });
  page.on("pageerror", (one) => errors.push(String(one)));
  await page.setViewport({ width: look.width, height: look.height ?? 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: look.dark ? "dark" : "light" }]);
  const session = await page.createCDPSession();
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const start = performance.now();
  await page.goto(address, { waitUntil: "load", timeout: 120000 });
  // answers the next event after it is painted: interactive
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0))));
  const found = { page: join(basename(dirname(file)), basename(file)), ...look, ms: Math.round(performance.now() - start) };
  const { metrics } = await session.send("Performance.getMetrics");
  found.cpu = Math.round(1000 * metrics.find((one) => one.name === "TaskDuration").value);
  if (!/^https?:/.test(file)) found.bytes = statSync(file).size;
  found.tall = await page.evaluate(() => document.documentElement.scrollHeight);
  found.wide = await page.evaluate(() => document.documentElement.scrollWidth);
  if (look.shot) await page.screenshot({ path: look.shot });
  if (look.open) await page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
  if (look.axe) {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    found.axe = violations.map((one) => ({
      rule: one.id, impact: one.impact, count: one.nodes.length, first: one.nodes[0].html.slice(0, 240),
      why: one.nodes[0].failureSummary.slice(0, 300),
    }));
  }
  if (look.tab) found.tab = await tabbed(page, look.tab);
  if (look.poke) {
    await page.evaluate((kinds) => {
      for (const one of document.querySelectorAll("*")) {
        if (one.matches("a[download]")) continue;
        for (const kind of kinds) one.dispatchEvent(new MouseEvent(kind, { bubbles: false, cancelable: true }));
        if (one.matches("a")) one.click();
      }
    }, ["mouseover", "mouseenter", "click", "focus", "load", "error", "toggle", "animationstart"]);
  }
  if (look.print) found.cut = await cut(page);
  if (look.save) found.saved = await saved(page, session, look.save);
  found.controls = await page.evaluate(() => /[\u0000-\u0008\u202a-\u202e\u2066-\u2069]/.test(document.documentElement.outerHTML));
  found.taken = await page.evaluate(() => document.documentElement.dataset.taken ?? null);
  await page.close();
  return { ...found, requests, errors };
}

for (const file of pages) for (const look of looks) console.log(JSON.stringify(await looked(file, look)));
await browser.close();
