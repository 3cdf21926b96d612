/** The words of the console in English. `zh.js` has the same in Chinese. */

const number = (value) => value.toLocaleString('en');

export const en = {
  locale: 'en',
  otherLanguage: '中文',

  // The shell
  title: (channel) => `#${channel} · Sockeye`,
  pages: 'Pages',
  chatPage: 'Chat',
  inspectPage: 'Inspect',
  comparePage: 'Compare',
  channel: 'Channel',
  badChannel: (name) =>
    `“${name}” is not a channel name. It begins with a letter or digit; then letters, digits and _ - . : ~ @ follow, 255 at most.`,
  token: 'Access token',
  tokenText: 'This server may ask for a token: `sockeye token` mints one. It stays in this tab and goes with each request.',
  tokenSave: 'Use it',
  tokenForget: 'Use none',
  cancel: 'Cancel',

  // The connection
  idle: 'Not connected',
  connecting: 'Connecting…',
  live: 'Live',
  over: { websocket: 'WebSocket', sse: 'Server-Sent Events', longpoll: 'long polling', poll: 'polling' },
  waiting: 'Reconnecting in',
  waitingSeconds: (seconds) => ` ${seconds} s`,
  offline: 'Offline',
  retryNow: 'Try now',
  refused: (detail) => `The server refused: ${detail}`,

  // The conversation
  conversation: 'Chat',
  messages: 'Messages',
  emptyTitle: 'Still water.',
  emptyText: 'Say something, or open this page in a second window and talk to yourself.',
  anonymous: 'anonymous',
  bytes: (size) => (size === 1 ? '1 byte' : `${number(size)} bytes`),
  newMessages: (count) => (count === 1 ? '1 new message ↓' : `${number(count)} new messages ↓`),
  toTheEnd: 'To the newest ↓',
  gap: {
    expired: 'Some messages are missing here: they were no longer kept.',
    slow: 'Some messages are missing here: this page could not keep up.',
    reset: 'The history was reset here. Messages may be missing.',
  },

  // Writing
  name: 'You are',
  message: 'Message',
  draftHint: 'Message…',
  send: 'Send',
  queued: 'Waiting for the connection',
  sent: 'Sending…',
  failed: (detail) => `Not sent: ${detail}`,
  sendAgain: 'Send again',
  discard: 'Discard',

  // From elsewhere
  recipes: 'Use this channel from code',
  recipesTitle: 'This channel is a URL',
  recipesText: 'Whatever can speak HTTP can speak here.',
  curlTitle: 'From a terminal',
  clientTitle: 'In a page, over whatever gets through',
  socketTitle: 'With the browser’s own WebSocket',
  recipesFoot: 'Over a plain WebSocket every frame sent is published, and every message arrives as a frame.',
  copy: 'Copy',
  copied: 'Copied',

  // The inspector
  inspector: 'Inspect the channel',
  rewind: 'Read from',
  rewindHint: 'a position, -50, 10m…',
  rewindGo: 'Read',
  starts: { earliest: 'Earliest', '-50': 'Last 50', '10m': '10 minutes', now: 'Now' },
  pause: 'Pause',
  goOn: (count) => (count ? `Go on (${number(count)} new)` : 'Go on'),
  entries: 'Messages of the channel',
  noEntries: 'Nothing here. Publish something, or read from an earlier place.',
  shown: (count) => (count === 1 ? '1 message' : `${number(count)} messages`),
  kinds: { text: 'text', json: 'JSON', bytes: 'bytes' },
  publishTitle: 'Publish',
  publishKind: 'As',
  publishData: 'Data',
  publishEvent: 'Event',
  optional: 'optional',
  publish: 'Publish',
  hexHint: '00 ff 2a…',
  published: (at) => `Published at ${at}`,
  badJson: 'That is not JSON.',
  badHex: 'Bytes are written as pairs of hexadecimal digits.',
  presenceTitle: 'Who is listening',
  listeners: (count) => (count === 1 ? '1 listener' : `${number(count)} listeners`),
  more: (count) => `and ${number(count)} more`,
  others: (count) => (count === 1 ? '1 without a name' : `${number(count)} without a name`),
  presenceForbidden: 'The token does not allow to see it.',
  forgetTitle: 'Delete the history',
  forgetText: 'The messages are gone for everybody; positions go on.',
  forget: 'Delete…',
  forgetSure: (channel) => `Delete the history of #${channel}? It can not be brought back.`,
  forgetYes: 'Delete it',
  forgotten: 'The history is deleted.',

  // Side by side
  compare: 'Four transports side by side',
  compareTitle: 'The same messages, four ways',
  compareText:
    'This page publishes messages and receives each one four times: by polling, long polling, Server-Sent Events and a WebSocket. The lines run from the moment of publishing to the moment of arrival.',
  lanes: {
    poll: ['Polling', 'Asks again and again, whether there is something or not.'],
    longpoll: ['Long polling', 'Asks once; the server answers when there is something.'],
    sse: ['Server-Sent Events', 'One answer that never ends.'],
    websocket: ['WebSocket', 'One connection, both ways.'],
  },
  rate: 'Messages per second',
  interval: 'Poll every',
  seconds: (value) => `${number(value)} s`,
  perSecond: (value) => `${number(value)} /s`,
  start: 'Start',
  stop: 'Stop',
  startOver: 'Count anew',
  figures: {
    messages: 'Messages',
    requests: 'Requests',
    sent: 'Sent',
    received: 'Received',
    each: 'Per message',
    typical: 'Delay p50',
    worst: 'Delay p99',
  },
  size: (bytes) => (bytes < 10_000 ? `${number(Math.round(bytes))} B` : `${number(Math.round(bytes / 100) / 10)} kB`),
  delay: (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`),
  chart: (name) => `${name}: messages of the last 20 seconds, from publishing to arrival, and requests as ticks below`,
  howCounted: 'How this is counted',
  howBytes:
    'Bodies, events and frames are counted as they are. A page can not see all headers, so those are added up as the browser writes them over HTTP/1.1, within a few per cent. Over HTTP/2 they are compressed and smaller. TCP, TLS and pings are left out.',
  howDelay:
    'The delay is from the moment this page publishes a message to the moment this page has received it, by the same clock. What publishing itself costs is counted for none of the four.',
  howPolling: 'Polls send the position as If-None-Match: where nothing is new, the answer has no body.',
  laneFailed: 'No answer. It tries again.',

  // A name for someone who has not chosen one
  adjectives: ['Quiet', 'Swift', 'Bright', 'Silver', 'Gentle', 'Brave', 'Misty', 'Amber', 'Mossy', 'Merry', 'Lucky', 'Sunny'],
  animals: ['Heron', 'Otter', 'Salmon', 'Trout', 'Kingfisher', 'Beaver', 'Dipper', 'Osprey', 'Crane', 'Newt', 'Swan', 'Pike'],
  fullName: (adjective, animal) => `${adjective} ${animal}`,
};
