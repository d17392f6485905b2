import { describe, expect, test } from 'vitest';
import { messageLine } from '../../src/cli/sub.ts';

function line(payload: string | Uint8Array, format = {}): string {
  return Buffer.from(messageLine('a/b', Buffer.from(payload as string), format)).toString();
}

describe('a message as a line', () => {
  test('stays as it is without control characters', () => {
    for (const text of ['', 'plain', 'tab\tstays', 'größer → 漢字 😀', 'back\\slash', '\u00a0\u00ff']) {
      expect(line(text)).toBe(text);
    }
    const bytes = Buffer.from([0xff, 0xfe, 0x41]);
    expect(messageLine('a', bytes, {})).toBe(bytes);
  });

  test('shows control characters as escapes, so that it is one line and moves no cursor', () => {
    expect(line('two\r\nlines')).toBe('two\\r\\nlines');
    expect(line('\x1b[2J\x00\x7f')).toBe('\\x1b[2J\\x00\\x7f');
    expect(line('\u0085 \u009b31m')).toBe('\\x85 \\x9b31m');
    expect(line('safe\u202egpj.exe')).toBe('safe\\u202egpj.exe');
  });

  test('shows what a topic hides, too', () => {
    expect(line('text', { topics: true })).toBe('a/b\ttext');
    const hidden = Buffer.from(messageLine('a/\u202eb', Buffer.from('x'), { topics: true }));
    expect(hidden.toString()).toBe('a/\\u202eb\tx');
    const json = Buffer.from(messageLine('a/\u202eb', Buffer.from('\x7f\u009b'), { json: true })).toString();
    expect(json).toBe('{"topic":"a/\\u202eb","payload":"\\u007f\\u009b"}');
  });

  test('keeps every byte as JSON', () => {
    expect(JSON.parse(line('x\ny', { json: true }))).toEqual({ topic: 'a/b', payload: 'x\ny' });
    expect(JSON.parse(line(Buffer.from([0xc3, 0x28]), { json: true }))).toEqual({
      topic: 'a/b',
      base64: 'wyg=',
    });
  });
});
