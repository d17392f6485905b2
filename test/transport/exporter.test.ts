import { describe, expect, test, vi } from 'vitest';
import { type Connection, connect } from '../../src/index.ts';
import { join, next, serve } from './served.ts';

describe('what a connection exports', () => {
  test('is the same at both ends, and another for each connection, use, context and length [HS-29]', async () => {
    const accepted: Connection[] = [];
    const listener = await serve((connection) => accepted.push(connection));
    const [one, other] = [await join(listener), await join(listener)];
    await vi.waitFor(() => expect(accepted).toHaveLength(2), { timeout: 180_000 });
    const values = new Set<string>();
    for (const [client, server] of [
      [one, accepted[0]],
      [other, accepted[1]],
    ]) {
      for (const [length, name, context] of [
        [32, 'a use', undefined],
        [32, 'another use', undefined],
        [32, 'a use', Buffer.from('context')],
        [100, 'a use', undefined],
      ] as const) {
        const value = client.exportKeyingMaterial(length, name, context);
        expect(value).toHaveLength(length);
        expect(server.exportKeyingMaterial(length, name, context)).toEqual(value);
        values.add(Buffer.from(value).toString('hex'));
      }
    }
    expect(values.size).toBe(8);
  });

  test('is there for an end that has just connected, and not when the connection is over', async () => {
    const listener = await serve((connection) => connection.exportKeyingMaterial(1, 'a use'));
    const client = await connect(listener.url);
    await client.close();
    expect(() => client.exportKeyingMaterial(32, 'a use')).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_CLOSED' }),
    );
  });

  test('is not there while a handshake is under way, as with early data [HS-29] [HS-59]', async () => {
    const codes: unknown[] = [];
    const codeOf = (connection: Connection) => {
      try {
        return connection.exportKey('a use', new Uint8Array(0), 32).length;
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    const listener = await serve((connection) => codes.push(codeOf(connection)));
    const first = await join(listener);
    const ticket = await next<Uint8Array>(first as never, 'ticket');
    const client = await connect(listener.url, { ticket, earlyData: true });
    client.openStream({ earlyData: true }).send('early');
    codes.push(codeOf(client));
    await next(client as never, 'connected');
    expect([...codes, codeOf(client)]).toEqual([32, 'ERR_JSP_OFFLINE', 'ERR_JSP_OFFLINE', 32]);
    await client.close();
  });

  test('takes names, lengths and contexts that can be what they are', async () => {
    const client = await join(await serve(null));
    const invalid = expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' });
    for (const [length, name] of [
      [0, 'a'],
      [8_161, 'a'],
      [1.5, 'a'],
      [32, ''],
      [32, 'x'.repeat(65)],
      [32, 'ä'],
      [32, 7],
    ])
      expect(() => client.exportKeyingMaterial(length as number, name as string)).toThrow(invalid);
    expect(() => client.exportKeyingMaterial(32, 'a', 'text' as never)).toThrow(TypeError);
    const none = new Uint8Array(0);
    expect(() => client.exportKey('', none, 32)).toThrow(/^exportKey: label must be/);
    expect(() => client.exportKey('a', none, 0)).toThrow(/^exportKey: length must be/);
    expect(() => client.exportKey('a', 'text' as never, 32)).toThrow(/^exportKey: context must be/);
    expect(client.exportKeyingMaterial(8_160, 'x'.repeat(64))).toHaveLength(8_160);
  });
});
