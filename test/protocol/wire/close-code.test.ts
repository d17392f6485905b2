import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { ReasonCode } from '../../../src/pubsub/command.ts';

/** The codes by name of the table behind this heading of a page of the spec. */
function codesOf(page: string, heading: string): Record<string, number> {
  const text = readFileSync(new URL(`../../../spec/${page}`, import.meta.url), 'utf8');
  const [, section] = text.split(`\n## ${heading}`);
  const rows = section.split('\n## ')[0].matchAll(/^\| (0x[0-9a-f]{2}) \| ([A-Z_]+) \|/gm);
  return Object.fromEntries(Array.from(rows, ([, code, name]) => [name, Number(code)]));
}

test('the codes that close a connection, and the reasons of a broker, are those of the spec', () => {
  expect(CloseCode).toEqual(codesOf('errors.md', 'Codes that close a connection'));
  expect(ReasonCode).toEqual(codesOf('broker.md', 'Reason codes'));
});
