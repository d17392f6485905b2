import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { JspError } from '../base/errors.ts';
import { parseServerUrl } from '../transport/url.ts';
import { CommandError } from './command-error.ts';
import { DEFAULT_STATE_DIRECTORY, URL_FILE } from './state-directory.ts';

/** Where a command finds a broker that it was not told of. */
export interface UrlSources {
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** The folder in which `.jsp/url` may be. Default: the working directory. */
  readonly folder?: string;
}

/**
 * The URL of the broker: the option's, else that of the environment variable `JSP_URL`, else that in `.jsp/url`, where a broker
 * that was started in this folder has written it.
 *
 * @throws CommandError ERR_JSP_URL_MISSING when there is none; JspError ERR_JSP_URL_INVALID, which says where it came from
 */
export function findServerUrl(option: string | undefined, sources: UrlSources = {}): string {
  const { environment = process.env, folder = '.' } = sources;
  if (option !== undefined) return checked(option, '--url');
  if (environment.JSP_URL) return checked(environment.JSP_URL, 'JSP_URL');
  const path = join(folder, DEFAULT_STATE_DIRECTORY, URL_FILE);
  return checked(urlIn(path), path);
}

export const URL_OPTION_HELP = 'the URL the broker prints (else JSP_URL, else .jsp/url)';

function urlIn(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new CommandError(
      'ERR_JSP_URL_MISSING',
      `no broker to connect to: pass --url or set JSP_URL to the URL it prints, or run this where ${DEFAULT_STATE_DIRECTORY}/${URL_FILE} is; "jsp broker" starts one`,
      { cause: error },
    );
  }
}

function checked(url: string, source: string): string {
  try {
    parseServerUrl(url);
  } catch (error) {
    if (!(error instanceof JspError)) throw error;
    throw new JspError(error.code, `${source}: ${error.message}`, { cause: error });
  }
  return url;
}
