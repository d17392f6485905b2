/** `npm start`: sets a fresh clone up and runs a broker, with what to paste in another terminal below its URL. */

import { setUp } from './set-up.js';

setUp();
const { BROKER_DEFAULTS, runBroker } = await import('../dist/cli/broker.js');

await runBroker(BROKER_DEFAULTS, () => {
  console.error('\nIt runs. In another terminal, in this folder:\n');
  console.log("npx jsp sub 'demo/#' --count 1 &");
  console.log("sleep 2; npx jsp pub demo/hello 'It works'");
  console.error('\nCtrl-C stops the broker.\n');
});
