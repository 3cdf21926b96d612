/** A reader of a channel by the JavaScript client: `node reader.mjs URL CHANNEL AFTER`. Prints what comes, an object a line. */

import { WebSocket } from 'ws';
import { Sockeye } from '../../../clients/js/sockeye.js';

const [url, channel, after] = process.argv.slice(2);
const all = ['v1', 'sse', 'longpoll', 'poll'];
// One of them, or what gets through.
const one = all[Math.floor(Math.random() * (all.length + 1))];
const sockeye = new Sockeye(url, { WebSocket, pollInterval: 50, share: false, transports: one ? [one] : all });
for await (const item of sockeye.subscribe(channel, { after })) console.log(JSON.stringify(item));
