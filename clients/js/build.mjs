/**
 * Bundles `src/` three times: `node build.mjs`.
 *
 * - `sockeye.js`: the package's module. It is told where the server is.
 * - `served/sockeye.js`: what a server has at `/sockeye.js`. It knows its server: the one that it comes from.
 * - `served/sockeye.classic.js`: the same as a script, which sets the global `Sockeye`.
 */

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const BUNDLES = {
  'sockeye.js': { entry: 'sockeye', format: 'esm', from: 'nowhere' },
  'served/sockeye.js': { entry: 'sockeye', format: 'esm', from: 'module' },
  'served/sockeye.classic.js': { entry: 'classic', format: 'iife', from: 'script' },
};
const HEAD = '// Sockeye, the JavaScript client. Made by build.mjs from src/, where it is explained. MIT OR Apache-2.0.';
/** Deno reads the types of a module from here. */
const TYPES = '/* @ts-self-types="./sockeye.d.ts" */';

/** The bundles as texts, by their names. */
export function build() {
  return Object.fromEntries(Object.entries(BUNDLES).map(([name, how]) => [name, bundle(how)]));
}

function bundle({ entry, format, from }) {
  const { outputFiles } = buildSync({
    absWorkingDir: fileURLToPath(new URL('.', import.meta.url)),
    entryPoints: [`src/${entry}.js`],
    bundle: true,
    minify: true,
    // What Node 20 and browsers of 2022 understand.
    target: 'es2022',
    format,
    define: { SERVED_AS: JSON.stringify(from) },
    banner: { js: from === 'nowhere' ? `${HEAD}\n${TYPES}` : HEAD },
    write: false,
    logLevel: 'error',
  });
  return outputFiles[0].text;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, text] of Object.entries(build())) writeFileSync(new URL(name, import.meta.url), text);
}
