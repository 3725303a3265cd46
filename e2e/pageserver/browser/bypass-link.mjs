// Opens a bypass link in Chromium and prints the results as JSON.
// usage: node bypass-link.mjs CHROMIUM BYPASS_URL TOKEN SCREENSHOTS
//   BYPASS_URL  serves the app to those who are let through, and the page to others
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const [executablePath, bypass, token, screenshots] = process.argv.slice(2);
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const report = { views: [] };
const phone = { width: 360, height: 740 }, desktop = { width: 1280, height: 800 };

for (const [name, viewport, colorScheme, locale] of [
  ['link-desktop-light-en', desktop, 'light', 'en-US'], ['link-phone-dark-de', phone, 'dark', 'de-DE'],
  ['link-phone-light-ar', phone, 'light', 'ar-EG'], ['link-desktop-dark-ja', desktop, 'dark', 'ja-JP'],
]) {
  const context = await browser.newContext({ viewport, colorScheme, locale });
  const page = await context.newPage();
  const refused = [];
  page.on('console', m => { if (/content security policy/i.test(m.text())) refused.push(m.text()); });
  page.on('pageerror', e => refused.push(String(e)));
  await page.goto(bypass + '/?maintenance-bypass#not-a-token-that-anybody-has');
  await page.locator('#wrong').waitFor({ state: 'visible' });
  await page.screenshot({ path: `${screenshots}/${name}.png` });
  const axe = await page.evaluate(axeSource + '; axe.run({ resultTypes: ["violations"] })');
  report.views.push({ name, lang: await page.evaluate(() => document.documentElement.lang), refused, url: page.url(),
    scrollsSideways: await page.evaluate(() => document.documentElement.scrollWidth > innerWidth),
    violations: axe.violations.map(v => `${v.id}: ${v.nodes.map(n => n.html).join(' ')}`), passes: axe.passes.length });
  await context.close();
}

const text = page => page.evaluate(() => document.body.innerText);
const saysWrong = page => page.locator('#wrong').waitFor({ state: 'visible' }).then(() => true, () => false);
{ // the link with its token, and the link that ends the bypass
  const context = await browser.newContext();
  const page = await context.newPage();
  const sent = [];
  page.on('request', r => sent.push(`${r.method()} ${r.url()} ${r.headers().referer ?? ''}`));
  await page.goto(bypass + '/some//path?a=b&maintenance-bypass#' + token);
  await page.waitForURL(/path\?a=b$/);
  const inside = { url: page.url(), text: await text(page) };
  await page.goto(bypass + '/other');
  inside.other = await text(page);
  inside.history = await page.evaluate(() => history.length);
  inside.cookies = (await context.cookies()).map(({ name, httpOnly, secure, sameSite, path }) => ({ name, httpOnly, secure, sameSite, path }));
  inside.scriptSees = await page.evaluate(() => document.cookie);
  await page.goto(bypass + '/other?maintenance-bypass=off');
  inside.left = { url: page.url(), text: await text(page), cookies: (await context.cookies()).length };
  inside.leaks = sent.filter(line => line.includes(token));
  report.script = inside;
  // A second link in the same tab only changes the fragment.
  await page.goto(bypass + '/x?maintenance-bypass');
  await page.evaluate(token => { location.hash = token; }, token);
  await page.waitForURL(/x\?$/);
  report.again = await text(page);
  await context.close();
}
{ // without JavaScript: type the token
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(bypass + '/x?maintenance-bypass&a=b#' + token);
  await page.screenshot({ path: `${screenshots}/link-noscript.png` });
  await page.fill('input', 'wrong');
  await page.click('button');
  const wrong = { alert: await saysWrong(page), url: page.url() };
  await page.fill('input', token);
  await page.click('button');
  await page.waitForURL(/x\?a=b#$/);
  report.noscript = { wrong, url: page.url(), text: await page.locator('body').innerText() };
  await context.close();
}
{ // a page of another origin posts to the link
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.route('http://evil.example/', r => r.fulfill({ contentType: 'text/html', body: `<form method="post" action="${bypass}/?maintenance-bypass"><input name="token" value="${token}"><button>x</button></form>` }));
  await page.goto('http://evil.example/');
  await page.click('button');
  report.foreign = { status: await saysWrong(page), cookies: (await context.cookies()).length };
  await context.close();
}
await browser.close();
console.log(JSON.stringify(report));
