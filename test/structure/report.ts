/** `npm run ts test/structure/report.ts`: how large src/ is, and what in it is largest. */
import { median } from '../../src/bench/figures.ts';
import { filesBelow } from './project.ts';
import { shapesOf } from './shapes.ts';

const files = filesBelow('src', '.ts');
const sizes = files.map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }));
const { classes, functions } = shapesOf(files);

console.log(
  `${sizes.length} files, ${sum()} lines, ${median(sizes.map(({ lines }) => lines))} in the middle`,
);
const bySize = sizes.sort((a, b) => b.lines - a.lines);
list('longest files', bySize.slice(0, 12), ({ path, lines }) => `${lines} ${path}`);
list('shortest files', bySize.slice(-12), ({ path, lines }) => `${lines} ${path}`);
const wide = classes.toSorted((a, b) => b.publicMembers.length - a.publicMembers.length).slice(0, 12);
list('widest classes', wide, ({ path, name, publicMembers }) => `${publicMembers.length} ${path}#${name}`);
const long = functions.toSorted((a, b) => b.parameters - a.parameters).slice(0, 12);
list('most parameters', long, ({ path, name, parameters }) => `${parameters} ${path}#${name}`);

function sum(): number {
  return sizes.reduce((total, { lines }) => total + lines, 0);
}

function list<T>(title: string, items: readonly T[], line: (item: T) => string): void {
  console.log(`\n${title}:\n${items.map((item) => `  ${line(item)}`).join('\n')}`);
}
