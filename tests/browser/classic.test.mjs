/** The browser client as a script of the old kind, in a page without modules; and as a part of a bundle. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { BROWSERS, Site } from './pages.mjs';
import { Served } from './server.mjs';

for (const [name, browser] of Object.entries(BROWSERS)) {
  test(`${name}: a script of the old kind knows its server, from any page`, async () => {
    const site = await Site.start({});
    const server = await Served.start('--allow-origin', site.origin);
    site.paths['/'] = `<!doctype html>
      <script src="${server.url}/sockeye.classic.js" crossorigin></script>
      <script>
        var seen = [];
        var sockeye = new Sockeye();
        sockeye.subscribe('chat', { after: 'earliest', onmessage: function (message) { seen.push(message.data); } });
      </script>`;
    const page = await browser.open(site.origin);
    await page.until(`sockeye.state === 'live'`);
    await page.evaluate(`sockeye.publish('chat', 'hello')`);
    await page.until(`seen.includes('hello')`);
    assert.equal((await server.messages('chat')).length, 1);
    await page.close();
    await server.stop();
    site.stop();
  });

  test(`${name}: a client in a bundle asks where the server is, and takes no site for it`, async () => {
    const bundle = readFileSync(new URL('../../clients/js/sockeye.js', import.meta.url), 'utf8');
    const site = await Site.start({ '/': '<!doctype html>', '/assets/sockeye.js': bundle });
    const server = await Served.start('--allow-origin', site.origin);
    const page = await browser.open(site.origin);
    const made = (url) => `import('/assets/sockeye.js').then(({ Sockeye }) => (window.sockeye = new Sockeye(${url})).state)`;
    const caught = `${made('')}.catch(({ name, message }) => name + ': ' + message)`;
    assert.match(await page.evaluate(caught), /^TypeError: Say where the server is/);
    await page.evaluate(made(JSON.stringify(server.url)));
    await page.evaluate(`sockeye.publish('chat', 'hello')`);
    assert.equal((await server.messages('chat')).length, 1);
    await page.close();
    await server.stop();
    site.stop();
  });
}
