// Opens the pages of a sidecar that `dev` runs, checks them and takes screenshots. `run` has the arguments.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chromium } from "playwright-core";

const [binary, folder, pictures] = process.argv.slice(2);
const VIEWS = [
  { name: "light", colorScheme: "light", viewport: { width: 1280, height: 900 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  { name: "phone", colorScheme: "light", viewport: { width: 375, height: 800 } },
];

/** Starts `dev` on free ports and returns its addresses. */
async function startSidecar() {
  const child = spawn(binary, ["dev", "--listen", "127.0.0.1:0", "--stand-in", "127.0.0.1:0", "--fault", "service"]);
  let output = "";
  child.stdout.on("data", (text) => (output += text));
  child.stderr.on("data", (text) => (output += text));
  for (let left = 100; left > 0; left--) {
    const listen = /listening on (127\.0\.0\.1:\d+)/.exec(output);
    const admin = /admin port on (127\.0\.0\.1:\d+)/.exec(output);
    if (listen && admin) return { child, listen: `http://${listen[1]}`, admin: `http://${admin[1]}` };
    await new Promise((later) => setTimeout(later, 100));
  }
  child.kill();
  throw new Error(`dev has not started:\n${output}`);
}

/** A page that collects everything that must not happen. */
async function openPage(browser, view, admin, faults) {
  const { name, ...options } = view;
  const context = await browser.newContext({ ...options, permissions: ["clipboard-read", "clipboard-write"] });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(`${name}: ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`${name}: ${error}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(admin)) faults.push(`${name}: request to ${request.url()}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) faults.push(`${name}: ${response.status()} for ${response.url()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  return { context, page };
}

/** The page fits its window, and everything that can be focused has a name. */
async function checkLayout(page, faults, name) {
  const width = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  if (width[0] > width[1]) faults.push(`${name}: ${width[0]} pixels wide in a window of ${width[1]}`);
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("a, button, input, select, [tabindex]")]
      .filter((one) => one.checkVisibility())
      .filter((one) => {
        const label = one.labels?.[0]?.textContent || one.getAttribute("aria-label") || one.textContent;
        return !label.trim();
      })
      .map((one) => one.outerHTML));
  faults.push(...nameless.map((html) => `${name}: no name: ${html}`));
}

/** Colours of text and ground of each visible text differ enough for WCAG 2.2, 1.4.3. */
async function checkContrast(page, faults, name) {
  const weak = await page.evaluate(() => {
    const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
    const luminance = ([red, green, blue]) => {
      const part = [red, green, blue].map((one) => one / 255).map((one) =>
        one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
      return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
    };
    const ground = (one) => {
      for (let at = one; at; at = at.parentElement) {
        const colour = channels(getComputedStyle(at).backgroundColor);
        if (colour.length < 4 || colour[3] > 0) return colour;
      }
      return [255, 255, 255];
    };
    const hasText = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    return [...document.body.querySelectorAll("*")]
      .filter((one) => one.checkVisibility() && hasText(one))
      .map((one) => {
        const [a, b] = [luminance(channels(getComputedStyle(one).color)), luminance(ground(one))];
        return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.textContent.slice(0, 40)];
      })
      .filter(([contrast]) => contrast < 4.5)
      .map(([contrast, text]) => `${contrast.toFixed(2)} for ${text}`);
  });
  faults.push(...weak.slice(0, 5).map((one) => `${name}: contrast ${one}`));
}

async function checkStatus(page, view, admin, faults) {
  await page.goto(`${admin}/`);
  await page.locator("#rows tr").first().waitFor();
  assert.equal(await page.locator("#state").textContent(), "ready");
  const rows = await page.locator("#rows tr").count();
  assert.ok(rows >= 5, `${rows} routes`);
  await page.locator("#failures .failure", { hasText: "Cause: AWS refused the signature" }).waitFor();
  await page.screenshot({ path: `${folder}/status-${view.name}.png`, fullPage: true });
  // the filter, by keyboard
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.locator("#filter").focus();
  await page.keyboard.type("words");
  assert.equal(await page.locator("#rows tr").count(), 1);
  assert.match(await page.locator("#shown").textContent(), /^1 of \d+ routes/);
  await page.locator("#filter").fill("");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "pause");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#pause").getAttribute("aria-pressed"), "true");
  await page.keyboard.press("Enter");
  await checkLayout(page, faults, `status ${view.name}`);
  await checkContrast(page, faults, `status ${view.name}`);
}

/** The counter of a route follows a request. */
async function checkStatusFollows(page, { listen, admin }) {
  await page.goto(`${admin}/`);
  const requests = page.locator("#rows tr", { hasText: "/open*" }).locator("td").nth(5);
  await requests.waitFor();
  const before = Number(await requests.textContent());
  await fetch(`${listen}/open/a`);
  await page.waitForFunction(
    (least) => [...document.querySelectorAll("#rows tr")].some((row) =>
      row.children[1].textContent.includes("/open*") && Number(row.children[5].textContent) >= least),
    before + 1, { timeout: 10000 });
}

/** The list, its filter by keyboard, and one request. */
async function checkInspector(page, view, { listen, admin }, faults) {
  await page.goto(`${admin}/inspect`);
  await page.locator("#rows tr").first().waitFor();
  await page.waitForFunction(() => document.getElementById("state").textContent === "live");
  const all = await page.locator("#rows tr").count();
  assert.ok(all >= 3, `${all} requests`);
  await checkLayout(page, faults, `inspector ${view.name}`);
  await checkContrast(page, faults, `inspector ${view.name}`);
  // follows
  await fetch(`${listen}/aws?followed=${view.name}`);
  await page.locator("#rows tr", { hasText: `followed=${view.name}` }).waitFor();
  // filters
  await page.locator("input[name=status]").focus();
  await page.keyboard.type("403");
  await page.waitForFunction((before) => document.querySelectorAll("#rows tr").length < before, all);
  assert.ok(page.url().endsWith("?status=403"), page.url());
  await page.locator("input[name=status]").fill("");
  await page.locator("input[name=text]").fill("x=<script>");
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 0);
  await page.locator("input[name=text]").fill("x=%3Cscript");
  await page.locator("#rows tr", { hasText: "/iam/a" }).first().waitFor();
  // opens one, by keyboard
  await page.locator("#rows tr a", { hasText: "/iam/a" }).first().focus();
  await page.keyboard.press("Enter");
  await page.locator("#details-title", { hasText: "/iam/a" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "details-title");
  const text = await page.locator("#body").textContent();
  for (const part of ["To AWS", "Canonical request", "String to sign", "AWS refused the signature", "Routes, by the settings"]) {
    assert.ok(text.includes(part), part);
  }
  assert.ok(!text.includes("hush"), "a secret is shown");
  await page.screenshot({ path: `${folder}/inspector-${view.name}.png`, fullPage: true });
  await checkLayout(page, faults, `request ${view.name}`);
  await checkContrast(page, faults, `request ${view.name}`);
  await page.locator("#copy-curl").click();
  await page.locator("#done", { hasText: "Copied" }).waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(copied, /^curl .*-X GET .*\/iam\/a.* -H 'cookie: PLACEHOLDER'/);
  // sends it again
  await page.locator("input[name=text]").fill("");
  await page.waitForFunction((before) => document.querySelectorAll("#rows tr").length >= before, all);
  const before = await page.locator("#rows tr", { hasText: "/iam/a" }).count();
  await page.locator("#again").click();
  await page.locator("#done", { hasText: "was sent again" }).waitFor();
  await page.waitForFunction((least) => [...document.querySelectorAll("#rows tr")]
    .filter((row) => row.textContent.includes("/iam/a")).length > least, before);
  // back to the list
  await page.keyboard.press("Escape");
  assert.ok(await page.locator("#details").isHidden());
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "A");
  await page.goBack();
  await page.locator("#details-title", { hasText: "/iam/a" }).waitFor();
}

/** An address with an id that is not kept, or that no program would write, still shows the list. */
async function checkUnknown(browser, { admin }) {
  const page = await browser.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  for (const id of ["999999", "%ff", "%3Cimg%20src=x%20onerror=alert(1)%3E"]) {
    await page.goto(`${admin}/inspect/${id}`);
    await page.locator("#shown", { hasText: "is not kept" }).waitFor();
    await page.locator("#rows tr").first().waitFor();
    assert.match(await page.locator("#shown").textContent(), /is not kept\. \d+ request/);
  }
  assert.deepEqual(faults, []);
  await page.close();
}

/** The pictures of the documents. */
async function takePictures(browser, { listen, admin }) {
  const page = await browser.newPage({ colorScheme: "light", viewport: { width: 1200, height: 860 } });
  await page.goto(`${admin}/`);
  await page.locator("#rows tr").first().waitFor();
  await page.screenshot({ path: `${pictures}/status.png` });
  await page.setViewportSize({ width: 1200, height: 760 });
  const answer = await fetch(`${listen}/iam/orders?id=7`);
  await page.goto(`${admin}/inspect/${answer.headers.get("x-request-id")}`);
  await page.locator("#details-title", { hasText: "/iam/orders" }).waitFor();
  await page.screenshot({ path: `${pictures}/inspector.png` });
  await page.close();
}

async function main() {
  const sidecar = await startSidecar();
  const faults = [];
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  try {
    await fetch(`${sidecar.listen}/open/a`);
    await fetch(`${sidecar.listen}/iam/a?x=%3Cscript%3E`, { headers: { cookie: "session=hush-cookie" } });
    await fetch(`${sidecar.listen}/key/hello`, { method: "POST", body: "{\"a\": \"<img src=x onerror=alert(1)>\"}" });
    for (const view of VIEWS) {
      const { context, page } = await openPage(browser, view, sidecar.admin, faults);
      await checkStatus(page, view, sidecar.admin, faults);
      if (view.name === "light") await checkStatusFollows(page, sidecar);
      await checkInspector(page, view, sidecar, faults);
      await context.close();
    }
    await checkUnknown(browser, sidecar);
    if (pictures) await takePictures(browser, sidecar);
  } finally {
    await browser.close();
    sidecar.child.kill();
  }
  if (faults.length > 0) {
    console.error(faults.join("\n"));
    process.exit(1);
  }
  console.log(`pages: ${VIEWS.length} views, no fault; screenshots in ${folder}`);
}

await main();
