/** Waiting: for a while, for no longer than a while, and for longer each time. */

/** How long an answer may take, in milliseconds. */
export const ANSWER_WITHIN = 10_000;

const BACKOFF = { base: 500, cap: 30_000 };
const RARELY = { base: 1_000, cap: 600_000 };

/** Any time up to a bound that doubles: clients that were cut together come back apart. */
export function backoff(n) {
  return Math.random() * Math.min(BACKOFF.cap, BACKOFF.base * 2 ** n);
}

/** Longer each time, up to ten minutes: for what somebody has to mend first. */
export function rarely(n) {
  return about(Math.min(RARELY.cap, RARELY.base * 2 ** n));
}

/** The time, a tenth more or less. */
export function about(ms) {
  return ms * (0.9 + Math.random() / 5);
}

export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** What a promise gives, if it gives it in time. */
export function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error('The server does not answer.')), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
