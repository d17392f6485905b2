import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { PROFILE_NAMES } from '../../src/transport/profiles.ts';
import { PROFILES_PAGE, withProfiles } from './profiles-page.ts';

test('docs/profiles.md has the profiles as the source has them: npm run ts test/structure/profiles-page.ts', () => {
  const page = readFileSync(PROFILES_PAGE, 'utf8');
  expect(page).toBe(withProfiles(page));
  for (const name of PROFILE_NAMES) expect(page).toContain(`### ${name}\n\n<!-- ${name} -->\n`);
});
