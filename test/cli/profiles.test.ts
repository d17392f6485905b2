import { describe, expect, test } from 'vitest';
import { profileRows, profileTable } from '../../src/cli/profiles.ts';
import { coloursOf } from '../../src/cli/terminal.ts';
import { profiles } from '../../src/index.ts';
import { PRESETS, PROFILE_NAMES } from '../../src/transport/profiles.ts';
import { jsp, startBroker, startSub } from './jsp.ts';

describe('jsp profiles', () => {
  test('prints every profile with each value, the default, and the reason', async () => {
    const { exitCode, out } = await jsp(['profiles']);
    expect(exitCode).toBe(0);
    const text = out.replace(/\s+/g, ' ');
    for (const name of PROFILE_NAMES) {
      expect(out).toContain(`${name}: `);
      for (const { option, value, default: usual, reason } of profileRows(name))
        expect(text).toContain(`${option} ${value} ${usual} ${reason.split(' ').slice(0, 4).join(' ')}`);
    }
    expect(out).not.toContain('\x1b');
  });

  test('prints one alone, and as JSON with values that programs can use', async () => {
    const { out } = await jsp(['profiles', 'iot', '--json']);
    const told = JSON.parse(out) as Record<string, Record<string, { value: unknown; default: unknown }>>;
    expect(Object.keys(told)).toEqual(['iot']);
    const values = Object.entries(told.iot).map(([option, { value }]) => [option, value]);
    expect(Object.fromEntries(values)).toEqual(profiles.iot);
    expect(told.iot.heartbeatMs.default).toBe(5_000);
    expect(told.iot.messageBytesMax.default).toBe(16 * 1024 * 1024);
  });

  test('tells for every value a default that is another', () => {
    for (const name of PROFILE_NAMES)
      for (const row of profileRows(name)) {
        expect(row.default, row.option).not.toBe('undefined');
        expect(row.default, row.option).not.toBe(row.value);
      }
    expect(Object.keys(PRESETS)).toEqual(Object.keys(profiles));
  });

  test('keeps its tables as narrow as the terminal', () => {
    for (const columns of [80, 100, 120]) {
      const table = profileTable(profileRows('iot'), columns, coloursOf({ isTTY: false }));
      expect(Math.max(...table.split('\n').map((line) => line.length))).toBeLessThanOrEqual(columns);
    }
  });

  test('says which there are to whoever asks for another', async () => {
    const { exitCode, err } = await jsp(['profiles', 'games']);
    expect(exitCode).toBe(2);
    expect(err).toMatch(/gaming, fileTransfer, mobileChat, iot, broker\. \(ERR_JSP_USAGE\)/);
  });
});

test('commands that connect or listen take a profile', async () => {
  const { url } = await startBroker(undefined, '--profile', 'broker');
  const sub = await startSub(url, 'a', '--count', '1', '--profile', 'mobileChat');
  expect((await jsp(['pub', 'a', 'hello', '--profile', 'iot', '--url', url])).exitCode).toBe(0);
  expect((await sub.ended).out).toBe('hello\n');
  expect((await jsp(['ping', '--count', '1', '--profile', 'gaming', '--url', url])).exitCode).toBe(0);
  expect((await jsp(['ping', '--profile', 'none', '--url', url])).err).toContain(
    'Allowed choices are gaming',
  );
});
