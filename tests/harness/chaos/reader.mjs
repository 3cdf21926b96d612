/** A reader of a channel by the JavaScript client: `node reader.mjs URL CHANNEL AFTER [TRANSPORT]`. Prints what comes, an
    object a line. */

import { WebSocket } from 'ws';
import { Sockeye } from '../../../clients/js/sockeye.js';

const [url, channel, after, transport] = process.argv.slice(2);
// Without one, what gets through.
const transports = transport ? [transport] : ['v1', 'sse', 'longpoll', 'poll'];
const sockeye = new Sockeye(url, { WebSocket, pollInterval: 50, share: false, transports });
for await (const item of sockeye.subscribe(channel, { after })) console.log(JSON.stringify(item));
