/** The browser client as a package: what is in it, that its documentation is true, and that it asks for a server. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from '../../clients/js/build.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = join(root, 'clients/js');
const README_FILES = ['README.md', 'README.zh-CN.md', 'clients/js/README.md'];

test('the package has the module, its types, its sources and its licences', () => {
  const list = execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const [{ name, files }] = Object.values(JSON.parse(list));
  assert.equal(name, 'sockeye-client');
  const paths = files.map(({ path }) => path).filter((path) => !path.startsWith('src/'));
  assert.deepEqual(paths.sort(), ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json', 'sockeye.d.ts', 'sockeye.js']);
  assert.ok(files.some(({ path }) => path === 'src/sockeye.js'));
  for (const { path, size } of files) assert.ok(size > 0, path);
  for (const licence of ['LICENSE-APACHE', 'LICENSE-MIT']) {
    assert.equal(readFileSync(join(folder, licence), 'utf8'), readFileSync(join(root, licence), 'utf8'));
  }
});

test('without a page and without a URL there is an error at once, and with a URL there is none', () => {
  const run = (code) => spawnSync(process.execPath, ['--input-type=module', '-e', code], { cwd: folder, encoding: 'utf8' });
  const client = `import { Sockeye } from './sockeye.js';`;
  for (const [url, why] of [['', 'Say where the server is'], [`'localhost:8080'`, 'is not the URL of a server'], [`'/live'`, 'is not a URL'], [`'http://127.0.0.1:8080/c/chat'`, 'is a channel']]) {
    const { status, stderr } = run(`${client} new Sockeye(${url});`);
    assert.equal(status, 1, url);
    assert.match(stderr, new RegExp(`TypeError.*${why}`));
  }
  const { status, stderr } = run(`${client} new Sockeye('http://127.0.0.1:8080').close();`);
  assert.deepEqual([status, stderr], [0, '']);
});

test('a bundle does not take the site that it is on for its server', () => {
  const { 'sockeye.js': module } = build();
  assert.ok(!module.includes('import.meta'), 'bundlers make of it what they like');
  assert.ok(!module.includes('currentScript'));
});

test('the examples and a program of Node compile with strict types', () => {
  const tests = join(root, 'tests');
  const paths = { 'sockeye-client': [join(folder, 'sockeye.d.ts')], react: [join(tests, 'node_modules/@types/react')] };
  const strict = { strict: true, noEmit: true, target: 'es2022', module: 'esnext', moduleResolution: 'bundler', typeRoots: [join(tests, 'node_modules/@types')] };
  const examples = ['useChannel.ts', 'store.ts'].map((name) => join(folder, 'examples', name));
  compiles({ ...strict, lib: ['es2022', 'dom'], types: ['react'], paths }, examples);
  // There are no types of a browser in a program of Node; `ws` has the WebSocket there.
  const program = `
    import { Sockeye, type Message } from 'sockeye-client';
    import { WebSocket } from 'ws';
    const sockeye = new Sockeye('http://127.0.0.1:8080', { WebSocket, fetch: (url, init) => fetch(url, init), token: async () => 'x' });
    for await (const item of sockeye.subscribe<{ from: string }>('chat')) {
      if (item.gap) console.log(item.gap.why);
      else console.log((item satisfies Message<{ from: string }>).data.from);
    }`;
  const ws = { ...paths, ws: [join(tests, 'node_modules/@types/ws')] };
  compiles({ ...strict, lib: ['es2023'], types: ['node'], paths: ws }, [], program);
});

test('what the READMEs show compiles with strict types', () => {
  const files = README_FILES.flatMap((readme) => snippets(readFileSync(join(root, readme), 'utf8')).map((code, n) => [`${readme.replace(/\W/g, '-')}-${n}.ts`, code]));
  assert.ok(files.length >= 9, `${files.length} snippets`);
  const place = mkdtempSync(join(tmpdir(), 'sockeye-'));
  for (const [name, code] of files) writeFileSync(join(place, name), code);
  const types = [join(folder, 'sockeye.d.ts')];
  const compilerOptions = {
    strict: true,
    noEmit: true,
    target: 'es2022',
    module: 'esnext',
    moduleResolution: 'bundler',
    lib: ['es2022', 'dom'],
    types: [],
    paths: { 'sockeye-client': types, 'http://127.0.0.1:8080/sockeye.js': types, ws: [join(root, 'tests/node_modules/@types/ws')] },
  };
  writeFileSync(join(place, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  const tsc = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url));
  const { status, stdout } = spawnSync(process.execPath, [tsc, '--project', place], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
  rmSync(place, { recursive: true });
});

/** Files, and a program, that the compiler has nothing to say about. */
function compiles(compilerOptions, files, program) {
  const place = mkdtempSync(join(tmpdir(), 'sockeye-'));
  if (program) writeFileSync(join(place, 'program.mts'), program);
  const include = [...files, ...(program ? ['program.mts'] : [])];
  writeFileSync(join(place, 'tsconfig.json'), JSON.stringify({ compilerOptions, include }));
  const tsc = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url));
  const { status, stdout } = spawnSync(process.execPath, [tsc, '--project', place], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
  rmSync(place, { recursive: true });
}

/** The code of a page's modules, and of scripts, each as a module. What one uses of those before it is declared. */
function snippets(text) {
  const blocks = [...text.matchAll(/^```(?:js|ts|html)\n([^]*?)^```$/gm)].map(([, code]) => code);
  return blocks.map((block) => {
    const scripts = [...block.matchAll(/<script[^>]*>([^]*?)<\/script>/g)].map(([, code]) => code);
    const code = scripts.length ? scripts.join('\n') : block;
    const known = [
      /\bSockeye\b/.test(code) && !/import .*Sockeye/.test(code) && `import { Sockeye } from 'sockeye-client';`,
      /\bsockeye\./.test(code) && !/const sockeye\b/.test(code) && `declare const sockeye: import('sockeye-client').Sockeye;`,
    ];
    return [...known.filter(Boolean), code, 'export {};'].join('\n');
  });
}
