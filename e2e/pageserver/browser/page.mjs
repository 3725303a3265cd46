// Checks the built-in page in Chromium and prints the results as JSON.
// usage: node page.mjs CHROMIUM PAGE_URL APP_URL END_URL SCREENSHOTS
//   PAGE_URL  serves the maintenance page
//   APP_URL   serves a page of another origin at /app, and elsewhere the maintenance page,
//             or the app after a GET of /switch
//   END_URL   serves the page of a maintenance that ends on 2026-11-29 at 18:30 UTC
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const [executablePath, pageURL, appURL, endURL, screenshots] = process.argv.slice(2);
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const report = { views: [], cors: null, reload: null, noscript: null, ends: [] };

const phone = { width: 360, height: 740 }, desktop = { width: 1280, height: 800 };
const views = [
  ['desktop-light-en', desktop, 'light', 'en-US'], ['desktop-dark-de', desktop, 'dark', 'de-AT'],
  ['phone-light-ar', phone, 'light', 'ar-EG'], ['phone-dark-ja', phone, 'dark', 'ja-JP'],
  ['phone-light-ru', phone, 'light', 'ru-RU'], ['small-dark-hi', { width: 240, height: 320 }, 'dark', 'hi-IN'],
  ['landscape-light-de', { width: 667, height: 320 }, 'light', 'de-DE'], ['phone390-dark-de', { width: 390, height: 844 }, 'dark', 'de-DE'],
];
for (const [name, viewport, colorScheme, locale] of views) {
  const context = await browser.newContext({ viewport, colorScheme, locale });
  const page = await context.newPage();
  const refused = [], requests = [];
  page.on('console', m => { if (/content security policy/i.test(m.text())) refused.push(m.text()); });
  page.on('pageerror', e => refused.push(String(e)));
  page.on('request', r => { if (r.method() !== 'HEAD' || r.url() !== page.url()) requests.push(r.url()); }); // apart from its own check, which comes after a while
  const response = await page.goto(pageURL);
  await page.screenshot({ path: `${screenshots}/${name}.png` });
  const axe = await page.evaluate(axeSource + '; axe.run({ resultTypes: ["violations", "incomplete"] })');
  const dom = await page.evaluate(() => {
    const box = element => { const range = document.createRange(); range.selectNodeContents(element); return range.getBoundingClientRect(); };
    const title = box(document.querySelector('h1'));
    return {
    lang: document.documentElement.lang, dir: getComputedStyle(document.documentElement).direction, title: document.title,
    background: getComputedStyle(document.body).backgroundImage, scrollsSideways: document.documentElement.scrollWidth > innerWidth,
    messageBelowTheFold: box(document.querySelector('h1+p')).bottom > innerHeight, margin: Math.min(title.left, innerWidth - title.right),
    host: document.getElementById('host').textContent, looked: document.getElementById('looked').textContent,
    wordBreak: getComputedStyle(document.querySelector('h1')).wordBreak,
  }; });
  report.views.push({ name, status: response.status(), refused, requests: requests.length, ...dom,
    violations: axe.violations.map(v => `${v.id}: ${v.nodes.map(n => n.html).join(' ')}`), passes: axe.passes.length });
  await context.close();
}

{ // fetch from another origin, with and without preflight
  const page = await browser.newPage();
  await page.goto(appURL + '/app');
  report.cors = await page.evaluate(async url => {
    const ask = async init => {
      try {
        const r = await fetch(url + '/api', init);
        return { status: r.status, retryAfter: r.headers.get('Retry-After'), set: r.headers.get('Maintenance-Page-Set'), type: r.headers.get('Content-Type'), body: (await r.text()).length };
      } catch (e) { return { status: 0, error: String(e) }; }
    };
    return {
      simple: await ask({}),
      preflighted: await ask({ method: 'PUT', headers: { 'X-Own': 'a', 'Content-Type': 'application/json', Accept: 'application/json' }, body: '{}' }),
      credentials: await ask({ method: 'DELETE', credentials: 'include' }),
    };
  }, pageURL);
  await page.close();
}

{ // the page checks again and reloads automatically; the script controls its clock
  const page = await browser.newPage();
  const begin = Date.now();
  await page.clock.install({ time: begin });
  await page.clock.pauseAt(begin + 1000); // or real time would pass as well, and on a busy machine bring another check
  let asked = 0, answered = 0;
  page.on('request', r => { if (r.method() === 'HEAD') asked++; });
  page.on('response', r => { if (r.request().method() === 'HEAD') answered++; });
  await page.goto(appURL + '/somewhere?a=b');
  const before = await page.title();
  for (let i = 0; i < 12; i++) {
    await page.clock.runFor(5000);
    while (answered < asked) await page.waitForEvent('response', r => r.request().method() === 'HEAD');
    await page.evaluate(() => Promise.resolve());
  }
  const whileDown = { title: await page.title(), checks: asked };
  const looked = await page.locator('#looked').textContent(), tried = asked;
  await page.clock.runFor(1500); // shorter than the page's own interval
  await page.locator('#again').click();
  while (answered < tried + 1) await page.waitForEvent('response', r => r.request().method() === 'HEAD');
  await page.waitForFunction(before => document.getElementById('looked').textContent !== before, looked);
  whileDown.again = asked - tried;
  await page.evaluate(url => fetch(url), '/switch');
  const back = page.waitForFunction(() => document.title === 'the app', null, { timeout: 20000, polling: 50 });
  await page.clock.runFor(200000).catch(() => {}); // the reload may abort this call
  let title = '';
  try { await back; title = await page.title(); } catch (e) { title = String(e); }
  report.reload = { before, whileDown, after: title, url: page.url() };
  await page.close();
}

{ // the end of maintenance; the script sets the page's clock, since the text depends on the day
  const before = '2026-11-27T12:00:00Z';
  const ends = [
    ['phone-en-New_York', phone, 'en-US', 'America/New_York', before], ['desktop-de-Berlin', desktop, 'de-DE', 'Europe/Berlin', before],
    ['phone-ar-Dubai', phone, 'ar-EG', 'Asia/Dubai', before], ['today-de-Berlin', phone, 'de-DE', 'Europe/Berlin', '2026-11-29T08:00:00Z'],
    ['past-de-Berlin', phone, 'de-DE', 'Europe/Berlin', '2026-11-29T18:32:00Z'], ['noscript-de-Berlin', phone, 'de-DE', 'Europe/Berlin', null],
  ];
  for (const [name, viewport, locale, timezoneId, now] of ends) {
    const context = await browser.newContext({ viewport, locale, timezoneId, javaScriptEnabled: now !== null });
    const page = await context.newPage();
    const refused = [];
    page.on('console', m => { if (/content security policy/i.test(m.text())) refused.push(m.text()); });
    page.on('pageerror', e => refused.push(String(e)));
    if (now) await page.clock.setFixedTime(now);
    await page.goto(endURL);
    await page.screenshot({ path: `${screenshots}/until-${name}.png` });
    const time = page.locator('#until');
    const view = { name, text: await time.textContent(), hidden: !await time.isVisible(), refused, violations: [] };
    if (now) {
      view.scrollsSideways = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      const axe = await page.evaluate(axeSource + '; axe.run({ resultTypes: ["violations"] })');
      view.violations = axe.violations.map(v => v.id);
    }
    report.ends.push(view);
    await context.close();
  }
}

{ // without JavaScript
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(pageURL);
  report.noscript = await page.locator('meta[http-equiv=refresh]').getAttribute('content');
  await context.close();
}

await browser.close();
console.log(JSON.stringify(report));
