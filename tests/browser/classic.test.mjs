/** The browser client as a script of the old kind, in a page without modules. */

import assert from 'node:assert/strict';
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
}
