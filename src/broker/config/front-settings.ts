/** The table `[front]`: how a broker stands behind a front. */

import { readFileSync } from 'node:fs';
import { JspError } from '../../base/errors.ts';
import { whole } from '../../base/options.ts';
import type { BehindFrontOptions } from '../../transport/behind-front.ts';
import { numberOf, path } from './kinds.ts';
import { optional, table, type ValuesOf } from './setting.ts';

export const FRONT_SETTINGS = table(
  'A front ("jsp gateway --udp") that clients come through, before this broker and others.',
  {
    secret_file: optional(
      path,
      '"front.secret"',
      'File with the secret that "jsp keygen --front" makes, the same at the fronts and all brokers behind them: a line, and below it the one before, while that is in use. By default there is no front.',
    ),
    id: optional(
      numberOf(whole(0, 2 ** 24 - 1)),
      '1',
      'By what fronts know this broker, and no other. By default it follows from the name of the machine and the port.',
    ),
  },
);

/** What the table means; undefined: there is no front. */
export function behindFrontOf(
  values: ValuesOf<typeof FRONT_SETTINGS.fields>,
): BehindFrontOptions | undefined {
  const { secret_file: file, id } = values;
  return file === undefined ? undefined : { ...readFrontSecrets(file), serverId: id };
}

/**
 * The secrets in a file: the current one on the first line, and the previous one on a second.
 *
 * @throws JspError ERR_JSP_OPTION_INVALID
 */
export function readFrontSecrets(file: string): Pick<BehindFrontOptions, 'secret' | 'previousSecret'> {
  const lines = textOf(file)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const [secret, previousSecret] = lines.map((line) => Buffer.from(line, 'base64url'));
  if (lines.length < 1 || lines.length > 2 || !lines.every((line) => SECRET.test(line)))
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `${file}: must be a line of 43 characters, as "jsp keygen --front" prints it, or two: the secret, and the one before`,
    );
  return { secret, previousSecret };
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new JspError('ERR_JSP_OPTION_INVALID', `${file}: cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** 32 bytes in base64url, of which the last two bits are 0. */
const SECRET = /^[\w-]{42}[AEIMQUYcgkosw048]$/;
