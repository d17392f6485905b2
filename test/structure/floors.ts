import { importsOf } from './imports.ts';
import type { ProjectFile } from './project.ts';

/** The floors of src/, lowest first. A folder imports from lower floors and from itself only. */
export const FLOORS: readonly (readonly string[])[] = [
  ['base'],
  ['protocol/wire', 'protocol/trace'],
  ['crypto', 'congestion', 'stream', 'fec', 'compress'].map((part) => `protocol/${part}`),
  ['protocol/handshake', 'protocol/path'],
  ['protocol/recovery'],
  ['protocol/connection'],
  ['protocol/endpoint'],
  ['udp'],
  ['transport', 'testing'],
  ['pubsub'],
  ['broker', 'client'],
  ['bench'],
  ['cli'],
];

/** The parts of the core that code above it may see, by their `index.ts`; the others are seen by the core itself only. */
export const CORE_FACES: readonly string[] = ['endpoint', 'crypto', 'datagram'];

/** Deep views of the core that are still to become faces. */
const STILL_DEEP = [/^src\/protocol\/wire\/batch\.ts$/];
const STILL_DEEP_FROM = /^src\/cli\/bench\//;

/** The public face of the transport: it shows what is up to transport/, and only programs above may look at it. */
const FACE = 'src/index.ts';
const FACE_FLOOR = floorOfFolder('transport') + 0.5;

/** Sentences about imports that go up, aside, or nowhere the table knows. */
export function floorViolations(files: readonly ProjectFile[]): string[] {
  const violations: string[] = [];
  for (const file of files) {
    const floor = floorOf(file.path);
    if (floor < 0) {
      violations.push(`${file.path} is in no folder that has a floor`);
      continue;
    }
    for (const { path, line } of importsOf(file)) {
      if (path === undefined) continue;
      const problem = problemOf(file.path, path);
      if (problem !== undefined) violations.push(`${file.path}:${line} imports ${path}, ${problem}`);
    }
  }
  return violations;
}

function problemOf(from: string, to: string): string | undefined {
  if (!to.startsWith('src/')) return 'which is outside of src/';
  if (!to.endsWith('.ts')) return 'which does not end in .ts';
  if (folderOf(from) === folderOf(to)) return undefined;
  if (isCore(to) && !isCore(from) && !isFace(to)) {
    const isStill = STILL_DEEP.some((deep) => deep.test(to)) || STILL_DEEP_FROM.test(from);
    if (!isStill) return 'which is inside of the core: import its face';
  }
  const floor = floorOf(to);
  if (floor < 0) return 'which is in no folder that has a floor';
  if (floor === floorOf(from)) return 'a sibling on the same floor';
  if (floor > floorOf(from)) return 'which is on a higher floor';
  if (folderOf(to) === 'transport' && folderOf(from) === 'broker' && from !== 'src/broker/server.ts') {
    return 'which only src/broker/server.ts may see';
  }
  return undefined;
}

function isCore(path: string): boolean {
  return path.startsWith('src/protocol/');
}

function isFace(path: string): boolean {
  return CORE_FACES.some((part) => path === `src/protocol/${part}/index.ts`);
}

function floorOf(path: string): number {
  return path === FACE ? FACE_FLOOR : floorOfFolder(folderOf(path));
}

function floorOfFolder(folder: string): number {
  return FLOORS.findIndex((folders) => folders.includes(folder));
}

function folderOf(path: string): string {
  const parts = path.split('/');
  if (parts.length <= 2) return '';
  return parts[1] === 'protocol' && parts.length > 3 ? `protocol/${parts[2]}` : parts[1];
}
