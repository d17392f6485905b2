import { describe, expect, test } from 'vitest';
import { filesBelow } from './project.ts';
import { shapesOf } from './shapes.ts';

/** Classes of the core that show others more than {@link MEMBERS_MAX} members, and why. */
const WIDE: Readonly<Record<string, string>> = {
  ClientHandshake: 'the face that a connection has of either side of a handshake',
  ConnectionCounters: 'one count each',
  Endpoint: 'all that a driver hands in and drains, for all connections of a socket',
  EndpointCounters: 'nothing but counts, a field each',
  FrameReader: 'the fields of a frame, which are read without a call for each',
  HandshakeProgress: 'what its connection asks and tells a handshake: Retry, versions, tickets and keys',
  KeyRing: 'every key and secret of a connection is in it, and nowhere else',
  Lifecycle: 'every way in which a connection gets on, and ends',
  MessageRecords: 'columns, most of them, which are read without a call for each message',
  Path: 'all that is known of a way, a part or a figure each',
  QlogTrace: 'a kind of event each',
  ReceiveBatch: 'columns, most of them, which socket and endpoint fill and read by turns',
  Recovery: 'what can happen to a packet number space, or be asked of one, each',
  Segment: 'fields of a stretch of messages, which are read without a call for each message',
  SendBuffer: 'all that changes the records of messages, in one place',
  SendStream: 'what an application, the packets of a connection and their fates want of a stream',
  ServerHandshake: 'the same face, where many a member says that there is nothing',
  Streams: 'all that streams have in common goes through it',
};

/** Functions that take more than {@link PARAMETERS_MAX}: they write each packet, and an object would be made for each. */
const HOT: ReadonlySet<string> = new Set(['writeLongHeader', 'writeShortHeader']);

const core = shapesOf(filesBelow('src/protocol', '.ts'));
const all = shapesOf(filesBelow('src', '.ts'));

test('no class of the core shows others more than 20 members, but those that say why', () => {
  const wide = core.classes.filter(({ publicMembers }) => publicMembers.length > MEMBERS_MAX);
  expect(wide.map(({ name }) => name).sort()).toEqual(Object.keys(WIDE));
});

test('no function takes more than 6 parameters, but where each packet is written', () => {
  const long = all.functions.filter(({ parameters }) => parameters > PARAMETERS_MAX);
  expect(new Set(long.map(({ name }) => name))).toEqual(HOT);
});

describe('shapes', () => {
  test('are those of classes, methods and functions, without what is private', () => {
    const text = `
      export class A { readonly b = 1; #c = 2; private d = 3; constructor(x: number) {}
        get e(): number { return 1; } set e(v: number) {} static f(a: 1, b: 2): void {} protected g(): void {} }
      function h(...all: number[]): void {}`;
    const { classes, functions } = shapesOf([{ path: 'a.ts', text }]);
    expect(classes).toEqual([{ path: 'a.ts', name: 'A', publicMembers: ['b', 'e', 'f'] }]);
    expect(functions.map(({ name, parameters }) => `${name} ${parameters}`)).toEqual([
      'A.constructor 1',
      'A.e 0',
      'A.e 1',
      'A.f 2',
      'A.g 0',
      'h 1',
    ]);
  });
});

const MEMBERS_MAX = 20;
const PARAMETERS_MAX = 6;
