/**
 * Puts the files of `src/` into one module, `sockeye.js`: `node build.mjs`. Without comments and indentation and with short
 * names for what is private it is small enough to be sent to every visitor. Nothing else is changed.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// Each after those it imports from.
const FILES = ['position', 'time', 'message', 'http', 'run', 'socket', 'requests', 'line', 'subscription', 'sockeye'];
const HEAD = '// Sockeye, the browser client. Made by build.mjs from src/, where it is explained. MIT OR Apache-2.0.\n';

/** The module as text. */
export function build() {
  return HEAD + shorten(FILES.map((name) => strip(read(`src/${name}.js`), name === FILES.at(-1))).join(''));
}

/** What is to be read by a machine. Comments stand on lines of their own, imports on one line each. */
function strip(source, isEntry) {
  const lines = source.split('\n').map((line) => line.trim());
  const kept = lines.filter((line) => line && !/^(\/\/|\/?\*|import )/.test(line));
  return kept.map((line) => `${isEntry ? line : line.replace(/^export /, '')}\n`).join('');
}

/** `#a`, `#b`, … in the order of appearance. */
function shorten(module) {
  const names = [...new Set(module.match(/#\w+/g))];
  return module.replace(/#\w+/g, (name) => `#${letters(names.indexOf(name))}`);
}

function letters(n) {
  return n < 26 ? String.fromCharCode(97 + n) : letters(Math.floor(n / 26) - 1) + letters(n % 26);
}

function read(name) {
  return readFileSync(new URL(name, import.meta.url), 'utf8');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('sockeye.js', import.meta.url), build());
}
