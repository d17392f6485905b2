/** `npm start`: runs `jsp broker`, with what to paste in another terminal below its URL. */
import { createProgram } from '../dist/cli/program.js';
import { endWith } from '../dist/cli/terminal.js';

process.stderr.on('error', () => {}); // as in `jsp`: who reads only the URL may go

createProgram(printNextSteps)
  .parseAsync(['broker', ...process.argv.slice(2)], { from: 'user' })
  .catch(endWith);

function printNextSteps() {
  console.error(
    '\nPaste these two lines in another terminal, in this folder (Ctrl-C here stops the broker):\n',
  );
  console.log("npx jsp sub 'demo/#' --count 1 &");
  console.log("sleep 2; npx jsp pub demo/hello 'It works'");
  console.error();
}
