/** How the console looks: on a phone, in the dark, to a screen reader; and its picture for the README. */

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { Person, browser, curl, newChannel } from './browser.mjs';

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
const pictures = process.env.SOCKEYE_SCREENSHOT_DIR;

test('on a phone nothing is wider than the screen', async () => {
  const channel = newChannel();
  const kim = await Person.arrive(channel, { ...PHONE, name: 'Kim' });
  await kim.say(`a long word: ${'x'.repeat(300)}`);
  await curl(channel, '-H', 'Content-Type: application/json', '-d', `{"long":"${'y'.repeat(300)}"}`);
  await kim.sees('yyy');
  await kim.page.getByRole('button', { name: 'Use this channel from code' }).click();
  await kim.page.getByRole('heading', { name: 'From a terminal' }).waitFor();
  const { wide, visible, composerEnd, fields } = await kim.page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    visible: document.documentElement.clientWidth,
    composerEnd: document.querySelector('#composer').getBoundingClientRect().bottom,
    fields: Array.from(document.querySelectorAll('input, textarea'), (field) => parseFloat(getComputedStyle(field).fontSize)),
  }));
  assert.equal(wide, visible);
  assert.equal(visible, PHONE.viewport.width);
  assert.ok(composerEnd <= PHONE.viewport.height, 'the line to write on is on the screen');
  assert.ok(Math.min(...fields) >= 16, 'no field makes the phone zoom in');
  await kim.leaveContent();
});

test('a recipe is not broken within a word', async () => {
  const ann = await Person.arrive('chat', { viewport: { width: 1280, height: 800 } });
  const lines = await ann.page.locator('#socket').evaluate((code) => {
    const text = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
    while (text.nextNode() && !text.currentNode.data.includes('chat'));
    const at = text.currentNode.data.indexOf('chat');
    const name = new Range();
    name.setStart(text.currentNode, at);
    name.setEnd(text.currentNode, at + 'chat'.length);
    // Where a line ends depends on the letters and on the port.
    const widths = Array.from({ length: 30 }, (_, step) => 290 + 4 * step);
    return widths.map((width) => {
      code.style.display = 'block';
      code.style.width = `${width}px`;
      return name.getClientRects().length;
    });
  });
  assert.deepEqual(new Set(lines), new Set([1]), `${lines}`);
  await ann.leaveContent();
});

test('light and dark have their own colours, both legible', async () => {
  const seen = {};
  for (const colorScheme of ['light', 'dark']) {
    const ann = await Person.arrive(newChannel(), { colorScheme });
    await ann.say('hello');
    seen[colorScheme] = await ann.page.locator('.own .said').evaluate((said) => {
      const { color, backgroundColor } = getComputedStyle(said);
      return { ink: color.match(/\d+/g).map(Number), paper: backgroundColor.match(/\d+/g).map(Number) };
    });
    await ann.leaveContent();
  }
  assert.notDeepEqual(seen.light, seen.dark);
  for (const { ink, paper } of Object.values(seen)) assert.ok(contrast(ink, paper) >= 7);
  assert.ok(luminance(seen.light.paper) > luminance(seen.dark.paper));
});

test('a screen reader finds a log, a status and names for everything', async () => {
  const ann = await Person.arrive(newChannel());
  await ann.page.getByRole('log', { name: 'Messages' }).waitFor({ state: 'attached' });
  assert.equal(await ann.page.getByRole('log').getAttribute('aria-live'), 'polite');
  assert.equal((await ann.page.getByRole('status').textContent()).trim().startsWith('Live'), true);
  for (const control of await ann.page.locator('button:visible, input:visible, textarea:visible').all()) {
    const name = await control.evaluate((node) => node.ariaLabel || node.labels?.[0]?.textContent || node.textContent);
    assert.ok(name.trim(), await control.evaluate((node) => node.outerHTML));
  }
  await ann.leaveContent();
});

test('a log that is scrolled back stays there and says that there are new messages', async () => {
  const channel = newChannel();
  const ann = await Person.arrive(channel);
  for (let n = 0; n < 20; n += 1) await curl(channel, '-d', `line ${n}\n.\n.`);
  await ann.sees('line 19');
  await ann.page.locator('#stream').evaluate((stream) => stream.scrollTo(0, 0));
  await ann.page.getByRole('button', { name: 'To the newest' }).waitFor();
  await curl(channel, '-d', 'something new');
  await ann.page.getByRole('button', { name: '1 new message' }).waitFor();
  assert.equal(await ann.page.locator('#stream').evaluate((stream) => stream.scrollTop), 0);
  await ann.page.getByRole('button', { name: '1 new message' }).click();
  await ann.page.waitForFunction(() => {
    const end = document.querySelector('#log').lastElementChild.getBoundingClientRect();
    return end.bottom <= document.querySelector('#composer').getBoundingClientRect().top;
  });
  await ann.page.locator('#latest').waitFor({ state: 'hidden' });
  await ann.leaveContent();
});

test('the page keeps the last 500 messages', async () => {
  const channel = newChannel();
  const ann = await Person.arrive(channel);
  await ann.page.evaluate((url) => {
    const socket = new WebSocket(url);
    socket.onopen = () => {
      for (let n = 0; n < 600; n += 1) socket.send(`number ${n};`);
    };
  }, new URL(`/c/${channel}`, ann.page.url()).href.replace('http', 'ws'));
  await ann.sees('number 599;');
  const texts = await ann.texts();
  assert.equal(texts.length, 500);
  assert.equal(texts[0], 'number 100;');
  await ann.leaveContent();
});

test('pictures of the console', { skip: !pictures && 'SOCKEYE_SCREENSHOT_DIR is not set' }, async () => {
  const channel = 'river';
  const window = { viewport: { width: 620, height: 700 }, deviceScaleFactor: 1.5 };
  const ann = await Person.arrive(channel, { ...window, name: 'Ann' });
  const ben = await Person.arrive(channel, { ...window, name: 'Ben', colorScheme: 'dark' });
  await ann.say('Is anybody else on this river?');
  await ben.sees('river?');
  await ben.say('Right here, in the other window.');
  await ben.say('No account, no setup: I opened the page and had the history.');
  await curl(channel, '-d', 'hello from a terminal');
  await ben.sees('hello from a terminal');
  await ann.sees('hello from a terminal');
  await ann.say('And that was curl!');
  await ben.sees('And that was curl!');

  const shots = [];
  for (const person of [ann, ben]) shots.push((await person.page.screenshot()).toString('base64'));
  const table = await browser.newPage({ viewport: { width: 1280, height: 740 }, deviceScaleFactor: 1.5 });
  await table.setContent(
    `<style>
      body { margin: 0; display: flex; gap: 20px; padding: 20px; box-sizing: border-box; background: #dbe6e4 }
      img { width: 610px; border-radius: 12px; box-shadow: 0 4px 24px rgb(0 40 40 / 25%) }
    </style>${shots.map((shot) => `<img src="data:image/png;base64,${shot}">`).join('')}`,
  );
  await table.screenshot({ path: path.join(pictures, 'console.png') });
  await table.close();

  const kim = await Person.arrive(channel, { ...PHONE, deviceScaleFactor: 2, name: 'Kim' });
  await kim.sees('And that was curl!');
  await kim.page.screenshot({ path: path.join(pictures, 'console-phone.png') });
  for (const person of [ann, ben, kim]) await person.leaveContent();
});

/** WCAG 2.2: contrast ratio of two colours. */
function contrast(one, other) {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

function luminance(rgb) {
  const [r, g, b] = rgb.map((channel) => {
    const part = channel / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
