import { describe, expect, test } from 'vitest';
import { type Connection, connect, generateIdentity, type JspError, listen } from '../../src/index.ts';
import { Lab, type LinkOptions } from '../../src/testing/index.ts';
import type { ConnectOptions } from '../../src/transport/connect.ts';
import type { ListenOptions } from '../../src/transport/listen.ts';
import { connectionConfig } from '../../src/transport/options.ts';
import { bytesOf } from '../protocol/connection/pair.ts';
import { next, take } from './served.ts';

describe('the option mtu', () => {
  test('shrinks where the path carries no more, which an event tells, also to one who listens later, and the metrics', async () => {
    const { lab, connecting } = lay({ mtu: 1_300 }, { mtu: 1_472 });
    const connection = await lab.settle(connecting);
    const changes: number[][] = [];
    connection.on('mtu', (mtu, previous) => changes.push([previous, mtu]));
    await lab.run(1);
    expect(changes).toEqual([[1_472, 1_200]]);
    expect(connection.metrics()).toMatchObject({ mtu: 1_200, mtuFalls: 1 });
  });

  test('that is exact fails where the path carries no more, with an error of its own', async () => {
    const { lab, connecting } = lay({ mtu: 1_300 }, { mtu: { exactly: 1_472 } });
    const failure = await lab.settle(
      connecting.then(
        () => null,
        (error: JspError) => error,
      ),
    );
    expect(failure).toMatchObject({ code: 'ERR_JSP_MTU_NOT_CARRIED' });
    expect(failure?.message).toContain('1472');
  });

  test('that is exact holds where the path carries it', async () => {
    const { lab, connecting } = lay({}, { mtu: { exactly: 1_300 } }, { mtu: { exactly: 1_400 } });
    const connection = await lab.settle(connecting);
    expect(connection.metrics()).toMatchObject({ mtu: 1_300, mtuFalls: 0 });
  });

  test('sets the direction of its own side only; datagramBytesMax bounds what the other side sends', async () => {
    const sizes: number[] = [];
    for (const datagramBytesMax of [undefined, 700]) {
      const { lab, connecting, accepting } = lay({}, { mtu: 600, datagramBytesMax });
      const connection = await lab.settle(connecting);
      const accepted = await lab.settle(accepting);
      const stream = accepted.openStream();
      for (let i = 0; i < 20; i++) stream.send(bytesOf(20_000, i));
      await lab.settle(take(await lab.settle(next(connection, 'stream')), 20));
      expect(connection.metrics().mtu).toBe(600);
      sizes.push(accepted.metrics().mtu);
    }
    expect(sizes).toEqual([1_452, 700]);
  });

  test.each([
    { mtu: { exactly: 511 } },
    { mtu: { exactly: '1200' as unknown as number } },
    { mtu: {} as { exactly: number } },
    { mtu: null as unknown as number },
    { datagramBytesMax: 511 },
    { datagramBytesMax: 65_508 },
  ])('is refused when it makes no sense: %j', async (options) => {
    const { connecting } = lay({}, options);
    await expect(connecting).rejects.toMatchObject({ code: 'ERR_JSP_OPTION_INVALID' });
  });
});

describe('setMtu', () => {
  test('proves a larger size and keeps to it, on the client and on the server [REC-95]', async () => {
    const { lab, connecting, accepting } = lay({}, { mtu: 1_200 }, { mtu: 600 });
    const connection = await lab.settle(connecting);
    const accepted = await lab.settle(accepting);
    for (const side of [connection, accepted]) {
      for (const bytes of [1_400, 8_972, 512, 1_333]) {
        await lab.settle(side.setMtu(bytes));
        expect(side.metrics().mtu).toBe(bytes);
      }
    }
    const stream = accepted.openStream();
    for (let i = 0; i < 20; i++) stream.send(bytesOf(20_000, i));
    await lab.settle(take(await lab.settle(next(connection, 'stream')), 20));
    expect(accepted.metrics().mtu).toBe(1_333);
  });

  test('fails where the path does not carry the size, and the connection goes on as before [REC-95]', async () => {
    const { lab, connecting } = lay({ mtu: 1_300 }, { mtu: 1_200 });
    const connection = await lab.settle(connecting);
    await expect(lab.settle(connection.setMtu(1_301))).rejects.toMatchObject({
      code: 'ERR_JSP_MTU_NOT_CARRIED',
    });
    expect([connection.isOpen, connection.metrics().mtu]).toEqual([true, 1_200]);
    await lab.settle(connection.setMtu(1_300));
    expect(connection.metrics().mtu).toBe(1_300);
  });

  test('fails at once for what the peer does not take, and when another size or the end comes first [REC-95]', async () => {
    const { lab, connecting } = lay({}, {}, { datagramBytesMax: 1_500 });
    const connection = await lab.settle(connecting);
    await expect(lab.settle(connection.setMtu(1_501))).rejects.toMatchObject({
      code: 'ERR_JSP_MTU_NOT_CARRIED',
    });
    const first = connection.setMtu(1_400);
    const second = connection.setMtu(1_450);
    await expect(first).rejects.toMatchObject({ code: 'ERR_JSP_MTU_NOT_CARRIED' });
    connection.destroy();
    await expect(lab.settle(second)).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
    await expect(connection.setMtu(1_450)).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
    expect(() => connection.setMtu(511)).toThrow('mtu must be');
    expect(() => connection.setMtu(undefined as unknown as number)).toThrow('mtu must be');
  });

  test('hears of its own size only, when one that was carried at once was asked for just before [REC-95]', async () => {
    const { lab, connecting } = lay({ mtu: 1_300 }, { mtu: 1_200 });
    const connection = await lab.settle(connecting);
    const first = connection.setMtu(1_000);
    const second = connection.setMtu(1_400);
    await expect(first).rejects.toMatchObject({ code: 'ERR_JSP_MTU_NOT_CARRIED' });
    await expect(lab.settle(second)).rejects.toMatchObject({ code: 'ERR_JSP_MTU_NOT_CARRIED' });
    expect(connection.metrics().mtu).toBe(1_000);
  });
});

test('metrics tell whether datagrams may be taken apart on the way, where the system cannot tell [REC-53]', async () => {
  for (const [setsDontFragment, mtu, mtuMayFragment] of [
    [true, 1_400, 0],
    [false, 1_400, 1],
    [false, 1_200, 0],
  ] as const) {
    const { lab, connecting, socket } = lay({}, { mtu });
    Object.assign(socket, { setsDontFragment });
    expect(connectionConfig({}, socket, false).setsDontFragment).toBe(setsDontFragment);
    const connection = await lab.settle(connecting);
    expect(connection.metrics().mtuMayFragment).toBe(mtuMayFragment);
  }
});

test('a client whose system says that a datagram was too large looks no further [REC-53]', async () => {
  const { lab, connecting, socket } = lay({}, {});
  const connection = await lab.settle(connecting);
  socket.onError?.(Object.assign(new Error('too long'), { code: 'EMSGSIZE' }), false);
  const stream = connection.openStream();
  for (let i = 0; i < 20; i++) stream.send(bytesOf(20_000, i));
  await lab.run(5_000);
  expect(connection.metrics().mtu).toBe(1_200);
});

/** A listener and a client that begins to connect, on a network of the lab. */
function lay(link: LinkOptions, client: ConnectOptions, server: Partial<ListenOptions> = {}) {
  const lab = new Lab({ seed: 9, link: { delayMs: 5, ...link } });
  const { clock, random } = lab;
  const socket = lab.socket({ host: 'client', port: 1_000, connectTo: { host: 'server', port: 4_577 } });
  let accept: (connection: Connection) => void;
  const accepting = new Promise<Connection>((resolve) => {
    accept = resolve;
  });
  const connecting = (async () => {
    const at = lab.socket({ host: 'server', port: 4_577 });
    const listener = await listen({ identity: generateIdentity(), socket: at, clock, random, ...server });
    listener.on('connection', (connection) => accept(connection));
    const { username } = new URL(listener.url);
    return connect(`jsp://${username}@server:4577`, { socket, clock, random, ...client });
  })();
  connecting.catch(() => {});
  return { lab, socket, connecting, accepting };
}
