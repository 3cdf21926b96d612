/** The words for transports: those of the server that carry positions, best first. */

export const TRANSPORTS = ['v1', 'sse', 'longpoll', 'poll'];
/** What earlier versions called them. */
const EARLIER = { websocket: 'v1' };

/** The transports that an application names, or all. Throws for a word that names none. */
export function transportsNamed(words = TRANSPORTS) {
  return words.map((word) => {
    const name = EARLIER[word] ?? word;
    if (!TRANSPORTS.includes(name)) throw new TypeError(`'${word}' is not a transport of this client: write ${TRANSPORTS.join(', ')}.`);
    return name;
  });
}
