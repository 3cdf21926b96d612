/** The end of a channel, as the browser client tells it: in Node, over each transport that this has. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Sockeye } from '../../clients/js/sockeye.js';

const url = process.env.SOCKEYE_URL;
const TRANSPORTS = ['v1', 'sse', 'longpoll', 'poll'].filter((name) => name !== 'v1' || globalThis.WebSocket);

for (const transport of TRANSPORTS) {
  test(`by ${transport} a subscription ends with its channel, and is not begun again`, async () => {
    const channel = `end-${transport}-${Date.now()}`;
    const sockeye = new Sockeye(url, { transports: [transport], pollInterval: 50, share: false });
    const seen = [];
    const ended = new Promise((onend, onerror) => {
      const onmessage = ({ data }) => seen.push(data);
      sockeye.subscribe(channel, { onmessage, onend, onerror }).ready.then(async () => {
        await sockeye.publish(channel, 'last words');
        await fetch(`${url}/c/${channel}?close=1`, { method: 'POST' });
      });
    });
    const { at } = await ended;
    assert.deepEqual(seen, ['last words']);
    for (const [after, expected] of [['earliest', seen], ['-1', seen], [at, []], ['now', []]]) {
      const late = [];
      for await (const { data } of sockeye.subscribe(channel, { after })) late.push(data);
      assert.deepEqual(late, expected, after);
    }
    await assert.rejects(sockeye.publish(channel, 'more'), { code: 'ended' });
    // The connection lingers for a moment in case another channel is read, and then nothing is left.
    while (sockeye.state !== 'idle') await new Promise((resolve) => sockeye.addEventListener('state', resolve, { once: true }));
    sockeye.close();
  });
}
