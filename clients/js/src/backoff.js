/** How long to wait before the next attempt. */

const BACKOFF = { base: 500, cap: 30_000 };
const RARELY = { base: 1_000, cap: 600_000 };

/** Any time up to a bound that doubles: clients that were cut together reconnect at different times. */
export function backoff(n) {
  return Math.random() * Math.min(BACKOFF.cap, BACKOFF.base * 2 ** n);
}

/** Longer each time, up to ten minutes: for what a person has to repair first. */
export function rarely(n) {
  return about(Math.min(RARELY.cap, RARELY.base * 2 ** n));
}

/** The time, a tenth more or less. */
export function about(ms) {
  return ms * (0.9 + Math.random() / 5);
}
