/**
 * What may import what in src/: for dependency-cruiser, which test/structure/imports.test.ts runs. Imports of types
 * count as well.
 */

/** The floors of src/, lowest first. A folder imports from itself and from lower floors, never from its siblings. */
export const FLOORS = [
  ['base'],
  ['protocol/wire'],
  ['protocol/trace'],
  ['protocol/fec', 'protocol/compress'],
  ['protocol/crypto', 'protocol/congestion', 'protocol/stream'],
  ['protocol/handshake', 'protocol/path', 'protocol/datagram'],
  ['protocol/recovery'],
  ['protocol/connection'],
  ['protocol/endpoint'],
  ['udp', 'monitor', 'disk'],
  ['transport', 'testing'],
  ['pubsub'],
  ['broker', 'client', 'files', 'front'],
  ['gateway', 'web'],
  ['bench'],
  ['cli'],
];

/** The parts of the core that code above it sees, by their index.ts; the others are the core's own. */
const FACES = ['endpoint', 'crypto', 'datagram', 'compress'];

const floors = FLOORS.map((folders) => `^src/(${folders.join('|')})/`);

const rules = [
  {
    name: 'no-circle',
    comment: 'Files that import each other in a circle are one file, or one of them knows too much.',
    from: {},
    to: { circular: true },
  },
  ...FLOORS.slice(0, -1).map((folders, i) => ({
    name: `down-from-${folders[0].replace('protocol/', '')}`,
    comment: `What ${folders.join(', ')} imports is on a lower floor, or its own.`,
    from: { path: `^src/(${folders.join('|')})/` },
    to: { path: '^src/', pathNot: [...floors.slice(0, i), '^src/$1/'] },
  })),
  {
    name: 'has-a-floor',
    comment: 'Every folder of src/ stands on a floor; src/index.ts is the face of the transport.',
    from: { path: '^src/', pathNot: [...floors, '^src/index\\.ts$'] },
    to: {},
  },
  {
    name: 'faces-of-the-core',
    comment: 'Code above the core imports the faces of its parts, not files inside them.',
    from: { path: '^src/', pathNot: '^src/protocol/' },
    to: { path: '^src/protocol/', pathNot: `^src/protocol/(${FACES.join('|')})/index\\.ts$` },
  },
  {
    name: 'core-on-base',
    comment: 'The core imports nothing of ours outside src/protocol/ but src/base/.',
    from: { path: '^src/protocol/' },
    to: { path: '^src/', pathNot: '^src/(protocol|base)/' },
  },
  {
    name: 'pure-below-the-line',
    comment: 'Below the sans-IO line: pure functions, and the loaders of optional native code.',
    from: { path: '^src/(base|protocol|pubsub|broker/core)/' },
    to: {
      pathNot: [
        '^src/',
        '^(node:)?(buffer|crypto|module|worker_threads|zlib)$',
        '(^|/)node_modules/(@noble|sodium-native|lz4-napi)/',
      ],
    },
  },
  {
    name: 'one-door-of-the-broker',
    comment: 'Of the broker only its server and its doors see the transport, and its configuration what that can be told.',
    from: { path: '^src/broker/', pathNot: '^src/broker/(server\\.ts|native-door\\.ts|workers/(session|workers-door)\\.ts|config/)' },
    to: { path: '^src/transport/' },
  },
  {
    name: 'core-of-the-broker',
    comment: 'The core of the broker is pure: of ours it sees base/ and pubsub/ alone.',
    from: { path: '^src/broker/core/' },
    to: { path: '^src/', pathNot: '^src/(base|pubsub|broker/core)/' },
  },
  {
    name: 'public-face-from-above',
    comment: 'The public face of the transport is for programs above it.',
    from: { path: `^src/(${FLOORS.slice(0, FLOORS.length - 2).flat().join('|')})/` },
    to: { path: '^src/index\\.ts$' },
  },
  {
    name: 'stays-in-src',
    comment: 'src/ imports itself, Node, and packages that package.json names.',
    from: { path: '^src/' },
    to: { path: '^(test|benches|examples|scripts)/' },
  },
  {
    name: 'no-undeclared-package',
    comment: 'A package that src/ imports is a dependency, not one for development.',
    from: { path: '^src/' },
    to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown', 'unknown'] },
  },
];

export default {
  forbidden: rules.map((rule) => ({ severity: 'error', ...rule })),
  options: {
    // TypeScript 7 is no library that a tool could parse with.
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    // Some packages have no other door than their exports.
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
};
