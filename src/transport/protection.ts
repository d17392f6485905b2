/** How an application says what its messages are protected by against loss: on a connection, a stream and a message, in the same words. */

import { JspError } from '../base/errors.ts';
import { checkOptions, number, type OptionCheck, type OptionTable, whole } from '../base/options.ts';
import {
  BLOCK_DATA_MAX,
  BLOCK_PARITY_MAX,
  LATENCY_MS_MAX,
  OVERHEAD_MAX,
  PROTECTION_AUTO,
  PROTECTION_OFF,
  ProtectionMode,
  type ProtectionOptions,
  RESIDUAL_MAX,
  RESIDUAL_MIN,
} from '../protocol/endpoint/index.ts';

/**
 * What is done so that a lost packet is not felt. `off`: it is sent again, a round trip later. `auto`: while the path loses packets by
 * itself, small messages are sent more than once or repairs follow them, as the loss, the rhythm of the stream and a bound on the bytes
 * suggest; on a clean path not a byte. A {@link ProtectionTarget} is `auto` with aims of your own, a {@link ProtectionBlock} a fixed code.
 */
export type Protection = 'auto' | 'off' | ProtectionBlock | ProtectionTarget;

/** A Reed-Solomon code: any `data` of `data + parity` packets bring the messages of a block. */
export interface ProtectionBlock {
  /** Packets of a block, 1 to 64. */
  readonly data: number;
  /** Repairs behind them, 1 to 64; each costs as much as the largest packet of its block. */
  readonly parity: number;
}

/** `auto` with aims of your own; what is left out has its default. */
export interface ProtectionTarget {
  /** Share of messages that may still be late by a retransmission, 0.0001 to 0.5. Default 0.01. */
  readonly residual?: number | undefined;
  /** Delay that a message may have beyond the one-way delay, 1 to 10,000 ms. Default a quarter of the round-trip time, at least 10 ms, within its lifetime. */
  readonly latencyMs?: number | undefined;
  /** Most bytes spent, as a share of the bytes protected, 0 to 4. Default 0.9. */
  readonly overheadMax?: number | undefined;
}

/** Where both names of the option can stand. */
export interface Protectable {
  readonly protection?: Protection | undefined;
  readonly fec?: Protection | undefined;
}

/** The check of both names, for tables of options. Throws by itself what it has to say of members. */
export const protection: OptionCheck = (value) => {
  if (value === 'auto' || value === 'off') return null;
  if (typeof value !== 'object' || value === null) return MUST;
  checkOptions('protection', value as ProtectionBlock & ProtectionTarget, PROTECTION_OPTIONS);
  const { data, parity, residual, latencyMs, overheadMax } = value as ProtectionBlock & ProtectionTarget;
  const isBlock = data !== undefined || parity !== undefined;
  if (!isBlock) return null;
  if (data === undefined || parity === undefined) return 'an object with both data and parity';
  const isTarget = residual !== undefined || latencyMs !== undefined || overheadMax !== undefined;
  return isTarget ? 'either { data, parity } or { residual, latencyMs, overheadMax }' : null;
};

/**
 * What the core makes of the option under either of its names; null where it is not given.
 *
 * @param caller - the function whose options these are, for the message
 * @throws JspError ERR_JSP_OPTION_INVALID when the two names say different things
 */
export function protectionOf(caller: string, options: Protectable): ProtectionOptions | null {
  const { protection, fec } = options;
  if (protection === undefined && fec === undefined) return null;
  const said = (protection ?? fec) as Protection;
  if (protection !== undefined && fec !== undefined && !isSame(protection, fec)) {
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `${caller}: protection and fec are two names of one option and say different things: give one of them`,
    );
  }
  return normal(said);
}

function normal(said: Protection): ProtectionOptions {
  if (said === 'off') return PROTECTION_OFF;
  if (said === 'auto') return PROTECTION_AUTO;
  if ('data' in said && said.data !== undefined) {
    return { ...PROTECTION_AUTO, mode: ProtectionMode.BLOCK, data: said.data, parity: said.parity };
  }
  const { residual, latencyMs, overheadMax } = said as ProtectionTarget;
  return {
    ...PROTECTION_AUTO,
    residual: residual ?? PROTECTION_AUTO.residual,
    latencyMs: latencyMs ?? PROTECTION_AUTO.latencyMs,
    overheadMax: overheadMax ?? PROTECTION_AUTO.overheadMax,
  };
}

function isSame(one: Protection, other: Protection): boolean {
  const a = normal(one);
  const b = normal(other);
  return (Object.keys(a) as (keyof ProtectionOptions)[]).every((name) => a[name] === b[name]);
}

const MUST = 'auto, off, { data, parity } or { residual, latencyMs, overheadMax }';
const PROTECTION_OPTIONS: OptionTable<ProtectionBlock & ProtectionTarget> = {
  data: whole(1, BLOCK_DATA_MAX),
  parity: whole(1, BLOCK_PARITY_MAX),
  residual: number(RESIDUAL_MIN, RESIDUAL_MAX),
  latencyMs: number(1, LATENCY_MS_MAX),
  overheadMax: number(0, OVERHEAD_MAX),
};
