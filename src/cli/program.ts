import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addBenchCommand } from './bench.ts';
import { addBrokerCommand } from './broker.ts';
import { addKeygenCommand } from './keygen.ts';
import { addPingCommand } from './ping.ts';
import { addPubCommand } from './pub.ts';
import { addSubCommand } from './sub.ts';
import { failureLine } from './terminal.ts';

/**
 * `jsp` with all its commands. Errors of usage come out as exceptions, printed already.
 *
 * @param onBrokerListening - called when `jsp broker` has printed its URL
 */
export function createProgram(onBrokerListening = (): void => {}): Command {
  const jsp = new Command('jsp')
    .description('JetStreamProto: a broker and its clients over encrypted, reliable UDP')
    .version(packageVersion(), '--version')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      // A suggestion comes on a line of its own, and an error is one line.
      outputError: (text, write) =>
        write(
          failureLine(
            text
              .replace(/^error: /, '')
              .trim()
              .replaceAll('\n', ' '),
            'ERR_JSP_USAGE',
          ),
        ),
    });
  addBrokerCommand(jsp, onBrokerListening);
  addSubCommand(jsp);
  addPubCommand(jsp);
  addPingCommand(jsp);
  addKeygenCommand(jsp);
  addBenchCommand(jsp);
  return jsp;
}

function packageVersion(): string {
  const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}
