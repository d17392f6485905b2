import { Prng } from '../../src/base/random.ts';
import { type Connection, connect, type Listener, listen } from '../../src/index.ts';
import { Identity } from '../../src/protocol/crypto/index.ts';
import { Lab, type LabSocket, type LinkOptions } from '../../src/testing/index.ts';
import { next } from './served.ts';

/**
 * A listener and a client that is connected to it, in a lab of their own, whose every datagram is bit by bit the same each time. `join` connects another one.
 */
export async function labPair(link: LinkOptions = {}, options = {}, usesEcn = false) {
  const lab = new Lab({ seed: 21, link: { delayMs: 5, ...link } });
  const { clock, random } = lab;
  const server: LabSocket = lab.socket({ host: 'server', port: 4_577, usesEcn });
  const listener: Listener = await listen({
    identity: IDENTITY,
    socket: server,
    clock,
    random,
    ...options,
  });
  const { username } = new URL(listener.url);
  const join = async (host: string) => {
    const connectTo = { host: 'server', port: 4_577 };
    const socket = lab.socket({ host, port: 1_000, connectTo, usesEcn });
    const coming = next<Connection>(listener, 'connection');
    const client = await lab.settle(
      connect(`jsp://${username}@server:4577`, { socket, clock, random, ...options }),
    );
    const accepted = await lab.settle(coming);
    return { client, accepted, socket };
  };
  const { client, accepted, socket } = await join('client');
  return { lab, listener, client, accepted, join, sockets: { client: socket, server } };
}

const IDENTITY = Identity.generate(new Prng(21));
