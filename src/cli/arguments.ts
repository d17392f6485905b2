/** What commands read from their command line and its surroundings: numbers, text, and the URL of the broker. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { JspError } from '../base/errors.ts';
import type { StartPosition } from '../client/index.ts';
import type { ConnectOptions } from '../transport/connect.ts';
import { PROFILE_NAMES, type ProfileName } from '../transport/profiles.ts';
import {
  type Protection,
  type ProtectionBlock,
  type ProtectionTarget,
  protection,
} from '../transport/protection.ts';
import { parseServerUrl } from '../transport/url.ts';
import { TIMEOUT_MS_MAX } from '../udp/clock.ts';
import { knownServers } from './known-servers.ts';
import { DEFAULT_STATE_DIRECTORY, URL_FILE } from './state-directory.ts';
import { CommandError } from './terminal.ts';

/** A fingerprint that begins as an option does: one of 64. */
const DASHED_FINGERPRINT = /^-[\w-]{42}$/;

/** Lets a command take fingerprints as they are printed, also those which begin with "-": commander alone reads such a one as an option. */
export function takesFingerprints(command: Command): Command {
  const parse = command.parseOptions.bind(command);
  command.parseOptions = (args) => {
    const found = parse(args);
    while (DASHED_FINGERPRINT.test(found.unknown[0] ?? '')) {
      const { operands, unknown } = parse(found.unknown.slice(1));
      found.operands.push(found.unknown[0], ...operands);
      found.unknown = unknown;
    }
    return found;
  };
  return command;
}

/** Parses a whole number from `min` to `max`; commander prints what is thrown, with the option's name. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    throw new InvalidArgumentError(`It must be a whole number ${range}.`);
  };
}

/** The same with commas between several. */
export function wholeNumbers(min: number, max: number): (text: string) => number[] {
  const parse = wholeNumber(min, max);
  return (text) => text.split(',').map(parse);
}

/** Per cent, from 0 to less than 100. */
export function percentage(text: string): number {
  const value = Number(text);
  if (/^\d*\.?\d+$/.test(text) && value < 100) return value;
  throw new InvalidArgumentError('It must be a number from 0 to below 100.');
}

/** The same with commas between several. */
export function percentages(text: string): number[] {
  return text.split(',').map(percentage);
}

/** One of these words. */
export function oneOfWords<T extends string>(known: readonly T[]): (text: string) => T {
  return (text) => {
    const word = known.find((each) => each === text);
    if (word !== undefined) return word;
    throw new InvalidArgumentError(`It must be ${known.join(' or ')}.`);
  };
}

/** The same with commas between several. */
export function words<T extends string>(known: readonly T[]): (text: string) => T[] {
  const parse = oneOfWords(known);
  return (text) => text.split(',').map(parse);
}

/**
 * Ways to protect messages against loss, with commas between several: `off`, `auto`, a code such as `10+2` (packets and repairs), or `auto`
 * with aims, as in `auto:residual=0.001:latency=20:overhead=1.2`.
 */
export function protections(text: string): Protection[] {
  return text.split(',').map(protectionNamed);
}

/** Codes such as `10+2`, packets and repairs behind them, with commas between several. */
export function codes(text: string): ProtectionBlock[] {
  return text.split(',').map((name) => {
    const code = codeNamed(name);
    if (code === null) throw new InvalidArgumentError('It must be packets and repairs, such as 10+2.');
    assertProtection(code);
    return code;
  });
}

function codeNamed(text: string): ProtectionBlock | null {
  const match = /^(\d+)\+(\d+)$/.exec(text);
  return match === null ? null : { data: Number(match[1]), parity: Number(match[2]) };
}

function protectionNamed(text: string): Protection {
  if (text === 'off' || text === 'auto') return text;
  const named = codeNamed(text) ?? targetNamed(text);
  if (named === null) throw new InvalidArgumentError('It must be off, auto, 10+2 or auto:overhead=1.2.');
  assertProtection(named);
  return named;
}

/** Refuses, as a wrong argument, what the option would refuse. */
function assertProtection(way: Protection): void {
  try {
    protection(way);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function targetNamed(text: string): ProtectionTarget | null {
  const [auto, ...aims] = text.split(':').map((aim) => aim.split('='));
  const known = aims.every(([name, value]) => Object.hasOwn(AIMS, name) && /^\d*\.?\d+$/.test(value));
  if (auto[0] !== 'auto' || !known) return null;
  return Object.fromEntries(aims.map(([name, value]) => [AIMS[name], Number(value)]));
}

/** The same way as it was named. */
export function protectionName(way: Protection): string {
  if (typeof way === 'string') return way;
  if ('data' in way) return `${way.data}+${way.parity}`;
  const aims = Object.entries(AIMS).filter(([, option]) => way[option] !== undefined);
  return ['auto', ...aims.map(([name, option]) => `${name}=${way[option]}`)].join(':');
}

/** Names of the command line for the members of the option. */
const AIMS: Readonly<Record<string, keyof ProtectionTarget>> = {
  residual: 'residual',
  latency: 'latencyMs',
  overhead: 'overheadMax',
};

/** For an option that may be given several times. */
export function collect(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

/** A number above 0, such as of seconds. */
export function positiveNumber(text: string): number {
  const value = Number(text);
  if (/^\d*\.?\d+$/.test(text) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}

/** Seconds that a timer can count, which are above 0. */
export function seconds(text: string): number {
  const value = positiveNumber(text);
  if (value * 1_000 <= TIMEOUT_MS_MAX) return value;
  throw new InvalidArgumentError(
    `It must be at most ${Math.floor(TIMEOUT_MS_MAX / 1_000)} seconds, which are 24 days.`,
  );
}

/** Milliseconds of `500ms`, `10s`, `5m`, `2h` or `7d`; null of anything else. */
export function parseDuration(text: string): number | null {
  const match = /^(\d*\.?\d+)(ms|s|m|h|d)$/.exec(text);
  return match === null ? null : Number(match[1]) * UNITS_MS[match[2]];
}

/** A time such as `500ms` or `10s`, in ms; a number without a unit is of seconds. */
export function duration(text: string): number {
  const ms = /^\d*\.?\d+$/.test(text) ? Number(text) * 1_000 : parseDuration(text);
  if (ms !== null && ms > 0) return ms;
  throw new InvalidArgumentError('It must be a time such as 500ms, 10s, 5m, 2h or 7d.');
}

/** The same of what a timer counts, in ms. */
export function timeLimit(text: string): number {
  const ms = duration(text);
  if (ms <= TIMEOUT_MS_MAX) return ms;
  throw new InvalidArgumentError('It must be at most 24d.');
}

/**
 * Where a subscription begins: `new`, `earliest`, `last`, `last-per-topic`; an offset, with the epoch of its log where that is to be the same, as in 17 or
 * 4711:17; a time, or how long ago, as in 2026-11-26T08:00 or 10m.
 */
export function startPosition(text: string): StartPosition {
  if (text === 'new' || text === 'earliest' || text === 'last') return text;
  if (text === 'last-per-topic') return 'lastPerTopic';
  const offset = /^(?:(\d+):)?(\d+)$/.exec(text);
  if (offset?.slice(1).every((number = '0') => Number.isSafeInteger(Number(number)))) {
    const [, epoch, number] = offset;
    return epoch === undefined
      ? { offset: Number(number) }
      : { offset: Number(number), epoch: Number(epoch) };
  }
  const agoMs = parseDuration(text);
  const time = agoMs === null ? Date.parse(text) : Date.now() - agoMs;
  if (Number.isFinite(time)) return { time };
  throw new InvalidArgumentError(
    'It must be new, earliest, last, last-per-topic, an offset, a time such as 2026-11-26T08:00, or how long ago, such as 10m.',
  );
}

/** `name=value`. */
export function collectHeader(
  text: string,
  before: Readonly<Record<string, string>>,
): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be name=value.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** 0 or 1. */
export function qos(text: string): 0 | 1 {
  if (text === '0' || text === '1') return text === '0' ? 0 : 1;
  throw new InvalidArgumentError('It must be 0 (at most once) or 1 (at least once).');
}

/** The same with commas between several. */
export function positiveNumbers(text: string): number[] {
  return text.split(',').map(positiveNumber);
}

/** `500M`, `10G`: decimal, as disks are sold; commander prints what is thrown. */
export function byteSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kKMGT]?)B?$/.exec(text);
  if (match === null) throw new InvalidArgumentError('It must be a number of bytes, such as 500M or 10G.');
  return Math.floor(Number(match[1]) * 1_000 ** ['', 'K', 'M', 'G', 'T'].indexOf(match[2].toUpperCase()));
}

/**
 * Refuses an argument that was not UTF-8. Node gives it with U+FFFD in the place of its bytes, so that something else would be published, or
 * subscribed to, than was written.
 *
 * @param what - which argument, as the subject of a sentence
 * @throws CommandError ERR_JSP_USAGE
 */
export function assertUtf8(argument: string, what: string): void {
  if (!argument.includes('\ufffd')) return;
  throw new CommandError(
    'ERR_JSP_USAGE',
    `${what} has bytes that are not UTF-8: other bytes than text can be published from stdin, to a topic that is text`,
  );
}

/**
 * The URLs of the broker, several where it is a cluster: the option's, else those of the environment variable `JSP_URL`, else that in
 * `.jsp/url`, where a broker that was started in this folder has written it.
 *
 * @param name - of the option
 * @throws CommandError ERR_JSP_URL_MISSING when there is none; JspError ERR_JSP_URL_INVALID, which says where it came from
 */
export function findServerUrls(option: string | undefined, name = '--url'): string[] {
  if (option !== undefined) return checkedUrls(option, name);
  if (process.env.JSP_URL) return checkedUrls(process.env.JSP_URL, 'JSP_URL');
  const path = join(DEFAULT_STATE_DIRECTORY, URL_FILE);
  return checkedUrls(urlIn(path, name), path);
}

/**
 * The same, of something that can be done with one broker only.
 *
 * @param what - needs one, as the subject of a sentence
 * @throws CommandError ERR_JSP_USAGE when there are several
 */
export function findServerUrl(option: string | undefined, what: string): string {
  const urls = findServerUrls(option);
  if (urls.length === 1) return urls[0];
  throw new CommandError('ERR_JSP_USAGE', `${what} is with one broker: give one URL, not ${urls.length}`);
}

/** URLs with commas between them. A comma may also be within one, between its two fingerprints. [URL-9] */
export function splitUrls(text: string): string[] {
  return text.split(/\s*,\s*(?=jsp:\/\/)/i);
}

function urlIn(path: string, option: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new CommandError(
      'ERR_JSP_URL_MISSING',
      `no broker to connect to: pass ${option} or set JSP_URL to the URL it prints, or run this where ${DEFAULT_STATE_DIRECTORY}/${URL_FILE} is; "jsp broker" starts one`,
      { cause: error },
    );
  }
}

function checkedUrls(urls: string, source: string): string[] {
  return splitUrls(urls).map((url) => checkedUrl(url, source));
}

/** The URL, if it is one; an error says where it came from. */
export function checkedUrl(url: string, source: string): string {
  try {
    parseServerUrl(url);
  } catch (error) {
    if (!(error instanceof JspError)) throw error;
    throw new JspError(error.code, `${source}: ${error.message}`, { cause: error });
  }
  return url;
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

export const URL_OPTION_HELP =
  'the URL the broker prints, or those of a cluster with commas between them (else JSP_URL, else .jsp/url)';

/** The largest payload that the commands take, and that a broker they run passes on. */
export const PAYLOAD_BYTES_MAX = 16 * 1024 * 1024;

/** The same with room for what comes in front of it: the broker's header and the longest topic. */
export const MESSAGE_BYTES_MAX = PAYLOAD_BYTES_MAX + 8 + 1_024;

/**
 * So often that a command learns within a second that its broker was started anew, which answers the next packet with a stateless reset; and
 * so many that a broker that is silent for a while is not given up sooner than by the defaults.
 */
const HEARTBEATS = { heartbeatMs: 750, heartbeatMisses: 20 } as const;

/** Of both ends of a transfer of files: one that is killed is noticed within seconds, for the transfer goes on by itself when it is back. */
export const TRANSFER_OPTIONS = { profile: 'fileTransfer', heartbeatMs: 500, heartbeatMisses: 10 } as const;

/** The option `--profile` of a command that connects or listens. */
export function profileOption(): Option {
  return new Option(
    '--profile <name>',
    'transport options for a kind of use, which "jsp profiles" explains',
  ).choices(PROFILE_NAMES);
}

/** What a command passes on of its `--profile`, with what it knows of servers; without one it hears of the broker's end as {@link HEARTBEATS} say. */
export function profileOrHeartbeats(profile: ProfileName | undefined): ConnectOptions {
  const tokens = knownServers();
  return profile === undefined ? { ...HEARTBEATS, tokens } : { profile, tokens };
}

/** A command that has published nothing has nothing to wait for but its goodbye, and a person who has pressed Ctrl-C waits for it. */
export const GOODBYE = { timeoutMs: 1_000 } as const;
