/* global SERVED_AS */
/** Where the server is that this file comes from. `build.mjs` says in what form it comes: in a package it comes from nowhere. */

function ownUrl() {
  if (SERVED_AS === 'module') return import.meta.url;
  if (SERVED_AS === 'script') return globalThis.document?.currentScript?.src;
}

/** The server's URL, or nothing where it cannot be known. A copy that was saved is read from a file. */
export const home = /^https?:/.test(ownUrl() ?? '') ? new URL('.', ownUrl()) : undefined;
