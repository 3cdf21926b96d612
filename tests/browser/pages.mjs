/** Pages of another origin, and the browsers that open them: the same few methods for Chromium and Firefox. */

import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after } from 'node:test';
import { browser } from './browser.mjs';
import { Firefox } from './firefox.mjs';

const sites = new Set();
after(() => sites.forEach((site) => site.stop()));

/** A site: what is at which path, as text or as the file of a package (`{ package: 'htmx.org/dist/htmx.js' }`). */
export class Site {
  static async start(paths) {
    const site = new Site();
    site.paths = paths;
    site.server = createServer((request, response) => site.#answer(request, response)).listen(0, '127.0.0.1');
    sites.add(site);
    await once(site.server, 'listening');
    site.origin = `http://127.0.0.1:${site.server.address().port}`;
    return site;
  }

  #answer({ url }, response) {
    const { pathname } = new URL(url, this.origin);
    const content = this.paths[pathname];
    const type = pathname.endsWith('.js') ? 'text/javascript' : 'text/html; charset=utf-8';
    response.writeHead(content === undefined ? 404 : 200, { 'Content-Type': type });
    response.end(content?.package ? fileOf(content.package) : content);
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

function fileOf(path) {
  return readFileSync(new URL(`../node_modules/${path}`, import.meta.url));
}

/** Chromium, as far as Firefox does the same. */
const chromium = {
  async open(url) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(url);
    return {
      evaluate: (expression) => page.evaluate(expression),
      until: (expression) => page.waitForFunction(expression, undefined, { polling: 20 }),
      close: () => context.close(),
    };
  },
};

const firefox = await Firefox.launch();
after(() => firefox.close());

export const BROWSERS = { Chromium: chromium, Firefox: firefox };
