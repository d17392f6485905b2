/** `npm run fuzz:native`: the fuzzer of the native addon by itself, over as many seeds as there is patience for: see {@link USAGE}. */
import { parseArgs } from 'node:util';
import { fuzz, sanitized } from './sanitizers.ts';

const USAGE = `npm run fuzz:native -- [--rounds N] [--seed N] [--runs N]   hostile calls of the native addon, under AddressSanitizer and UBSan

  --rounds   calls in a run                 (default 100000)
  --seed     of the first                   (default: another one each time)
  --runs     with one seed after the other  (default 1)`;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    runs: { type: 'string', default: '1' },
    help: { type: 'boolean' },
  },
});
if (values.help) console.log(USAGE);
else {
  const build = sanitized();
  if ('missing' in build) {
    console.error(`The native addon cannot be fuzzed here: ${build.missing}`);
    process.exit(1);
  }
  for (let i = 0; i < Number(values.runs) && !process.exitCode; i++) {
    const seed = Number(values.seed) + i;
    const { status, output } = fuzz(build, seed, Number(values.rounds));
    console.log(output);
    if (status === 0) continue;
    console.error(
      `failed with ${status}\n    replay: npm run fuzz:native -- --seed ${seed} --rounds ${values.rounds}`,
    );
    process.exitCode = 1;
  }
}
