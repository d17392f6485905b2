/** The tables of docs/profiles.md, from the presets. `npm run ts test/structure/profiles-page.ts` writes them anew. */

import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { profileRows } from '../../src/cli/profiles.ts';
import { type ProfileName, PURPOSES } from '../../src/transport/profiles.ts';
import { ROOT } from './project.ts';

/** The page with each table as the presets have it. */
export function withProfiles(page: string): string {
  return page.replace(MARKED, (_, begin: string, name: ProfileName, end: string) => {
    const rows = profileRows(name).map(
      ({ option, value, default: usual, reason }) => `| \`${option}\` | ${value} | ${usual} | ${reason} |`,
    );
    const head = `For ${PURPOSES[name]}.\n\n| option | value | default | why |\n|---|---|---|---|`;
    return `${begin}\n${head}\n${rows.join('\n')}\n${end}`;
  });
}

const MARKED = /(<!-- (\w+) -->)\n[\s\S]*?\n?(<!-- end -->)/g;
export const PROFILES_PAGE = join(ROOT, 'docs/profiles.md');

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  writeFileSync(PROFILES_PAGE, withProfiles(readFileSync(PROFILES_PAGE, 'utf8')));
}
