/** Reads what a caller says, member by member, be it an object of JSON or a query: each is there as it has to be, or not there, or a fault that names it. */

/** What a client calls a request, or a subscription. [GW-51] */
export type Name = string | number;

/** What a caller has said is not as it has to be: he is told, and stays. */
export class RequestFault extends Error {
  readonly code: string;
  /** Of the message that it was in, where that has one. */
  readonly id: Name | null;

  constructor(message: string, code = 'BAD_REQUEST', id: Name | null = null) {
    super(message);
    this.code = code;
    this.id = id;
  }
}

/** What was said, by name. */
export type Members = Readonly<Record<string, unknown>>;

export function optionalWhole(members: Members, name: string, low: number, high: number): number | undefined {
  const value = members[name];
  if (value === undefined || value === null) return undefined;
  if (!Number.isInteger(value) || (value as number) < low || (value as number) > high) {
    throw new RequestFault(`${name} must be a whole number from ${low} to ${high}`);
  }
  return value as number;
}

export function optionalText(members: Members, name: string, lengthMax: number): string | undefined {
  const value = members[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string' || value.length > lengthMax) {
    throw new RequestFault(`${name} must be a text of at most ${lengthMax} characters`);
  }
  return value;
}

/** What the broker would end the whole connection for is told of the request. */
export function optionalName(members: Members, name: string, bytesMax: number): string | undefined {
  const value = members[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string' || !isName(value, bytesMax)) {
    throw new RequestFault(`${name} must be a text of 1 to ${bytesMax} bytes without control characters`);
  }
  return value;
}

/** Whether it can be the name of something: of a session, a durable subscription. */
export function isName(text: string, bytesMax: number): boolean {
  return isText(text, bytesMax) && !CONTROL.test(text);
}

/** Whether it is not empty, and fits as UTF-8. */
export function isText(text: string, bytesMax: number): boolean {
  return text !== '' && Buffer.byteLength(text) <= bytesMax && !LONE_SURROGATE.test(text);
}

export function optionalFlag(members: Members, name: string): boolean | undefined {
  const value = members[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw new RequestFault(`${name} must be true or false`);
  return value;
}

export function optionalOneOf<const T extends string>(
  members: Members,
  name: string,
  known: readonly T[],
): T | undefined {
  const value = members[name];
  if (value === undefined || value === null) return undefined;
  const found = known.find((each) => each === value);
  if (found === undefined) throw new RequestFault(`${name} must be one of ${known.join(', ')}`);
  return found;
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

const CONTROL = /\p{Cc}/u;
const LONE_SURROGATE = /\p{Cs}/u;
