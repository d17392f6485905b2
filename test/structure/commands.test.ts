import { expect, test } from 'vitest';
import { commandLinesOf, faultOf, jspCommand, optionsBelow } from './command-lines.ts';
import { filesBelow, textOf } from './project.ts';
import { blocksOf, inlineOf, kindOf, PAGES } from './snippets.ts';

const jsp = await jspCommand();

test('command lines on pages have commands, options, values and arguments that jsp takes', () => {
  const lines = PAGES.flatMap(commandLinesOf).filter(({ text }) => text !== THREAD);
  expect(lines.length).toBeGreaterThan(150);
  expect(lines.flatMap((line) => faultIn(line) ?? [])).toEqual([]);
});

test('a command line that jsp does not take is found, in a block and within a text', () => {
  const page = {
    path: 'no-page.md',
    line: 1,
    text: `Not \`jsp bench lader\`, \`jsp pub --qoss\`, nor \`jsp bench pubsub --rate much\`, but \`jsp pub --ttl\`:

    jsp broker --http      over HTTP
    JSP_URL=x jsp pub 'a b' 21.5 22 --qos 1 > out
    $ jsp send --to URL    files
    jsp dlq list --json
`,
  };
  expect(commandLinesOf(page).map((line) => faultOf(line, jsp))).toEqual([
    '--http needs a value',
    'jsp pub takes 2 arguments',
    'jsp send needs more arguments',
    null,
    'jsp bench has no command lader',
    'jsp pub has no --qoss',
    expect.stringContaining('--rate much: It must be messages a second'),
    null,
  ]);
});

test('options that a page names by themselves, or beside a command, are of a command', () => {
  const known = new Set([...optionsBelow(jsp), ...OTHERS]);
  const pages = PAGES.filter(({ path }) => !['CONTRIBUTING.md', 'benches/README.md'].includes(path));
  const named = pages.flatMap(inlineOf).filter(({ text }) => /^--[a-z]/.test(text));
  // And those in what is said beside a command.
  const beside = pages
    .flatMap(blocksOf)
    .filter((block) => /^(\$ )?jsp /.test(block.text) && kindOf(block) === 'shell');
  const faults = [...named, ...beside].flatMap(({ path, line, text }) =>
    (text.match(/(?<=^| )--[a-z-]+/gm) ?? [])
      .filter((option) => !known.has(option))
      .map((option) => `${path}:${line} ${option}`),
  );
  expect(named.length).toBeGreaterThan(80);
  expect(beside.length).toBeGreaterThan(20);
  expect(faults).toEqual([]);
});

test('what pages say that npm is to run is there: scripts, benchmarks, examples and simulations', () => {
  const { scripts } = JSON.parse(textOf('package.json') ?? '') as { scripts: Record<string, string> };
  const simulations = ['main.ts', 'interop/']
    .flatMap((name) =>
      filesBelow('test/sim', '.ts').filter(({ path }) => path.startsWith(`test/sim/${name}`)),
    )
    .map(({ text }) => text)
    .join('');
  const runs = PAGES.flatMap(({ path, text }) =>
    [...text.matchAll(/\bnpm run ([a-z:]+)((?: [^\s`|]+)*)/g)].map(([all, script, rest]) => ({
      place: `${path} ${all}`,
      script,
      rest,
    })),
  );
  expect(runs.length).toBeGreaterThan(60);
  const faults = runs.filter(({ script, rest }) => {
    const [name = 'NAME'] = rest.match(/(?<=^ )[\w./-]*\w/) ?? [];
    if (scripts[script] === undefined) return true;
    if (script === 'bench') return name !== 'NAME' && textOf(`benches/${name}.ts`) === undefined;
    if (script === 'ts') return /\//.test(name) && textOf(name) === undefined;
    const cases = [...rest.matchAll(/--(?:interop|scenario) (?!all\b)([a-z-]+)/g)].map(([, each]) => each);
    return cases.some((each) => !new RegExp(`'${each}',|\\b${each}: \\{`).test(simulations));
  });
  expect(faults.map(({ place }) => place)).toEqual([]);
});

function faultIn(line: ReturnType<typeof commandLinesOf>[number]): string | null {
  const fault = faultOf(line, jsp);
  return fault === null ? null : `${line.path}:${line.line} \`${line.text}\`: ${fault}`;
}

/** The name of a thread. */
const THREAD = 'jsp worker 0';
/** Of every command, of Node, and of the simulation. */
const OTHERS = ['--help', '--inspect', '--interop'];
