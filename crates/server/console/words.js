/** Every word of the console that a person reads, in one place. */

export const words = {
  // The shell
  title: (channel) => `#${channel} · Sockeye`,
  channel: 'Channel',
  badChannel: (name) =>
    `“${name}” is not a channel name. It begins with a letter or digit; then letters, digits and _ - . : ~ @ follow, 255 at most.`,

  // The connection
  connecting: 'Connecting…',
  live: 'Live',
  waiting: 'Reconnecting in',
  waitingSeconds: (seconds) => ` ${seconds} s`,
  offline: 'Offline',
  retryNow: 'Try now',
  unreachable: 'The server does not answer.',
  cut: (code) => `The connection was lost (${code}).`,
  refused: (status, detail) => `The server refused: ${detail || status}.`,

  // The conversation
  conversation: 'Chat',
  messages: 'Messages',
  emptyTitle: 'Still water.',
  emptyText: 'Say something, or open this page in a second window and talk to yourself.',
  anonymous: 'anonymous',
  binary: (size) => (size === 1 ? '1 byte' : `${size.toLocaleString('en')} bytes`),
  newMessages: (count) => (count === 1 ? '1 new message ↓' : `${count} new messages ↓`),
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
  doubtful: 'Not confirmed: the connection was lost while this was on its way.',
  sendAgain: 'Send again',
  discard: 'Discard',

  // From elsewhere
  recipes: 'Use this channel from code',
  recipesTitle: 'This channel is a URL',
  recipesText: 'Whatever can speak HTTP can speak here.',
  curlTitle: 'From a terminal',
  socketTitle: 'From any page or script',
  recipesFoot: 'Every frame sent is published, and every message arrives as a frame.',
  copy: 'Copy',
  copied: 'Copied',

  // A name for someone who has not chosen one
  adjectives: ['Quiet', 'Swift', 'Bright', 'Silver', 'Gentle', 'Brave', 'Misty', 'Amber', 'Mossy', 'Merry', 'Lucky', 'Sunny'],
  animals: ['Heron', 'Otter', 'Salmon', 'Trout', 'Kingfisher', 'Beaver', 'Dipper', 'Osprey', 'Crane', 'Newt', 'Swan', 'Pike'],
};
