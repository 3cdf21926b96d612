/** The examples of the JavaScript client, with React and Svelte themselves. */

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { buildSync } from '../../clients/js/node_modules/esbuild/lib/main.js';
import { browser, newChannel, serverUrl } from './browser.mjs';
import { publishAll } from './client.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** A page of the server that runs this as a module, bundled with the packages that it imports. */
async function run(code) {
  const { outputFiles } = buildSync({
    stdin: { contents: code, resolveDir: here('..'), loader: 'tsx' },
    alias: { 'sockeye-client': here('../../clients/js/sockeye.js'), react: here('../node_modules/react') },
    jsx: 'automatic',
    bundle: true,
    format: 'iife',
    define: { 'process.env.NODE_ENV': '"development"' },
    write: false,
    logLevel: 'error',
  });
  const context = await browser.newContext({ bypassCSP: true });
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  await page.goto(`${serverUrl}/`);
  await page.evaluate(() => document.body.replaceChildren(Object.assign(document.createElement('main'), { id: 'app' })));
  await page.addScriptTag({ content: outputFiles[0].text });
  return { page, complaints, close: () => context.close() };
}

test('a component of React shows a channel, follows another, and leaves it', async () => {
  const [first, second] = [newChannel(), newChannel()];
  await publishAll(first, ['1', '2']);
  await publishAll(second, ['other']);
  const { page, complaints, close } = await run(`
    import { StrictMode, useState } from 'react';
    import { createRoot } from 'react-dom/client';
    import { Sockeye } from 'sockeye-client';
    import { useChannel } from '../clients/js/examples/useChannel.ts';

    const sockeye = new Sockeye(${JSON.stringify(serverUrl)});
    function Channel({ name }: { name: string }) {
      const { messages, state, problem } = useChannel<string>(sockeye, name, { after: 'earliest' });
      return <p data-state={state}>{problem ? problem.code : messages.map(({ data }) => data).join(' ')}</p>;
    }
    function App() {
      const [name, setName] = useState(${JSON.stringify(first)});
      window.show = setName;
      return name ? <Channel name={name} /> : <i>gone</i>;
    }
    createRoot(document.getElementById('app')!).render(<StrictMode><App /></StrictMode>);`);
  const shows = (text) => page.locator('#app p[data-state=live]').filter({ hasText: new RegExp(`^${text}$`) }).waitFor();
  await shows('1 2');
  await publishAll(first, ['3']);
  await shows('1 2 3');
  await page.evaluate((name) => window.show(name), second);
  await shows('other');
  const listeners = async (channel) => (await (await fetch(`${serverUrl}/c/${channel}/presence`)).json()).count;
  await page.evaluate(() => window.show(''));
  await page.locator('#app i').waitFor();
  while ((await listeners(first)) + (await listeners(second)) > 0) await page.waitForTimeout(50);
  assert.deepEqual(complaints, []);
  await page.evaluate(() => window.show('~no'));
  await page.locator('#app p').filter({ hasText: 'bad_channel' }).waitFor();
  await close();
});

test('a channel is a store, also for what Svelte derives from stores', async () => {
  const channel = newChannel();
  await publishAll(channel, ['1']);
  const { page, complaints, close } = await run(`
    import { derived } from 'svelte/store';
    import { Sockeye } from 'sockeye-client';
    import { channelStore } from '../clients/js/examples/store.ts';

    const sockeye = new Sockeye(${JSON.stringify(serverUrl)});
    const store = channelStore<string>(sockeye, ${JSON.stringify(channel)}, { after: 'earliest' });
    const sum = derived(store, ({ messages }) => messages.reduce((sum, { data }) => sum + Number(data), 0));
    window.store = store;
    window.watch = () => (window.unwatch = sum.subscribe((value) => (window.sum = value)));
    window.watch();`);
  const isSum = (sum) => page.waitForFunction((sum) => window.sum === sum, sum);
  await isSum(1);
  await page.evaluate(() => window.store.publish('10'));
  await isSum(11);
  await page.evaluate(() => window.unwatch());
  await publishAll(channel, ['100']);
  await page.evaluate(() => window.watch());
  await isSum(111);
  assert.deepEqual(complaints, []);
  await close();
});
