/** What the tests are told by their environment. */

import assert from 'node:assert/strict';

/** The value of an environment variable that the tests cannot do without. */
export function required(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set: \`cargo xtask test\` starts the program and sets it`);
  return value;
}
