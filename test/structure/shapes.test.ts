import { describe, expect, test } from 'vitest';
import { filesBelow } from './project.ts';
import { shapesOf } from './shapes.ts';

/** Classes of the core that still show more than they should. */
const STILL_WIDE: readonly string[] = ['EndpointCounters', 'FrameReader'];

/** Functions of hot paths with more parameters than others may have, and why. */
const HOT: Readonly<Record<string, string>> = {
  endPacket: 'called for each packet',
  sealPacket: 'called for each packet',
  unprotectHeader: 'called for each packet',
  'TransmitBatch.pushPacket': 'called for each packet',
  writeLongHeader: 'called for each packet of a handshake',
  writeShortHeader: 'called for each packet',
};

const core = shapesOf(filesBelow('src/protocol', '.ts'));
const all = shapesOf(filesBelow('src', '.ts'));

test('no class of the core shows others more than 20 members', () => {
  const wide = core.classes.filter(({ publicMembers }) => publicMembers.length > MEMBERS_MAX);
  const unknown = wide.filter(({ name }) => !STILL_WIDE.includes(name));
  expect(unknown.map(({ path, name, publicMembers }) => `${path} ${name}: ${publicMembers.length}`)).toEqual(
    [],
  );
});

test('no function takes more than 6 parameters, but where each packet is written or read', () => {
  const long = all.functions.filter(({ parameters }) => parameters > PARAMETERS_MAX);
  const cold = long.filter(({ name }) => HOT[name] === undefined);
  expect(cold.map(({ path, name, parameters }) => `${path} ${name}: ${parameters}`)).toEqual([]);
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
