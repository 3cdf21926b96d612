/** Waiting for a time, and for a promise no longer than a time. */

/** How long an answer may take, in milliseconds. */
export const ANSWER_WITHIN = 10_000;

/** Waits for a time, unless the signal ends that. Leaves nothing behind: a signal outlives many waits. */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => (clearTimeout(timer), reject(signal.reason));
    const timer = setTimeout(() => (signal?.removeEventListener('abort', stop), resolve()), ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/** What a promise resolves with, if it does so in time. */
export function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error('The server does not answer.')), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
