import { describe, expect, test } from 'vitest';
import { messageLine, type ShownMessage } from '../../src/cli/message-lines.ts';

function message(payload: string | Uint8Array, more: Partial<ShownMessage> = {}): ShownMessage {
  return { topic: 'a/b', payload: Buffer.from(payload as string), ...more };
}

function line(payload: string | Uint8Array, format = {}, more: Partial<ShownMessage> = {}): string {
  return Buffer.from(messageLine(message(payload, more), format)).toString();
}

describe('a message as a line', () => {
  test('stays as it is without control characters', () => {
    for (const text of ['', 'plain', 'tab\tstays', 'größer → 漢字 😀', 'back\\slash', '\u00a0\u00ff']) {
      expect(line(text)).toBe(text);
    }
    const bytes = message(Buffer.from([0xff, 0xfe, 0x41]));
    expect(messageLine(bytes, {})).toBe(bytes.payload);
  });

  test('shows control characters as escapes, so that it is one line and moves no cursor', () => {
    expect(line('two\r\nlines')).toBe('two\\r\\nlines');
    expect(line('\x1b[2J\x00\x7f')).toBe('\\x1b[2J\\x00\\x7f');
    expect(line('\u0085 \u009b31m')).toBe('\\x85 \\x9b31m');
    expect(line('safe\u202egpj.exe')).toBe('safe\\u202egpj.exe');
  });

  test('shows what a topic hides, too', () => {
    expect(line('text', { topics: true })).toBe('a/b\ttext');
    const hidden = { topic: 'a/\u202eb' };
    expect(line('x', { topics: true }, hidden)).toBe('a/\\u202eb\tx');
    expect(line('\x7f\u009b', { json: true }, hidden)).toBe(
      '{"topic":"a/\\u202eb","payload":"\\u007f\\u009b"}',
    );
  });

  test('keeps every byte as JSON', () => {
    expect(JSON.parse(line('x\ny', { json: true }))).toEqual({ topic: 'a/b', payload: 'x\ny' });
    expect(JSON.parse(line(Buffer.from([0xc3, 0x28]), { json: true }))).toEqual({
      topic: 'a/b',
      base64: 'wyg=',
    });
  });

  test('as JSON tells all that its publisher and the broker have said, and nothing else', () => {
    const told = {
      offset: 17,
      epoch: 4_711,
      redelivered: true,
      attempt: 3,
      retained: true,
      key: 'k',
      contentType: 'text/plain',
      replyTo: '$inbox/1/2',
      correlation: Buffer.from('c'),
      publishedAt: new Date(0),
      headers: { unit: 'C', 'evil\u202e': '\u001b[2J' },
      properties: { origin: { epoch: 1, offset: 2, topic: 'jobs', attempts: 3, reason: 'why' } },
    };
    const json = line('x', { json: true }, told);
    expect(JSON.parse(json)).toEqual({
      topic: 'a/b',
      payload: 'x',
      offset: 17,
      epoch: 4_711,
      redelivered: true,
      attempt: 3,
      retained: true,
      key: 'k',
      contentType: 'text/plain',
      replyTo: '$inbox/1/2',
      correlation: 'Yw==',
      publishedAt: '1970-01-01T00:00:00.000Z',
      headers: told.headers,
      origin: told.properties.origin,
    });
    for (const hidden of ['\u202e', '\u001b']) expect(json).not.toContain(hidden);
    const first = { offset: 1, epoch: 2, redelivered: false, attempt: 1, retained: false, headers: {} };
    expect(JSON.parse(line('x', { json: true }, first))).toEqual({
      topic: 'a/b',
      payload: 'x',
      offset: 1,
      epoch: 2,
    });
  });
});
