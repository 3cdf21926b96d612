/** The words for transports: those of the server that carry positions, best first. */

export const TRANSPORTS = ['v1', 'sse', 'longpoll', 'poll'];
/** What earlier versions called them. */
const EARLIER = { websocket: 'v1' };

/**
 * The transports that an application names, or all; without `v1` where the runtime has no WebSocket. Throws for a word that names none, and
 * when none is left.
 */
export function transportsNamed(words = TRANSPORTS, WebSocket) {
  const names = words.map((word) => {
    const name = EARLIER[word] ?? word;
    if (!TRANSPORTS.includes(name)) throw new TypeError(`'${word}' is not a transport of this client: write ${TRANSPORTS.join(', ')}.`);
    return name;
  });
  const usable = names.filter((name) => name !== 'v1' || WebSocket);
  if (!usable.length) throw new TypeError("This runtime has no WebSocket: give a constructor as the option 'WebSocket', or other transports.");
  return usable;
}
