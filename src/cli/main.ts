#!/usr/bin/env node
/** `jsp` with all its commands: the program that the package's `bin` names. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { serveMetricsWhenUsed } from '../transport/live.ts';
import { applyQlogOption } from './arguments.ts';
import { addBenchCommand } from './bench.ts';
import { addBrokerCommand } from './broker.ts';
import { addDictCommand } from './dict.ts';
import { addKeygenCommand } from './keygen.ts';
import { addMonitorCommand } from './monitor.ts';
import { addPingCommand } from './ping.ts';
import { addProfilesCommand } from './profiles.ts';
import { addPubCommand } from './pub.ts';
import { addReceiveCommand } from './receive.ts';
import { addSendCommand } from './send.ts';
import { addSubCommand } from './sub.ts';
import { endWith, endWithoutReader, failureLine } from './terminal.ts';

process.stdout.on('error', endWithoutReader);
process.stderr.on('error', () => {}); // nobody is left to be told, and what the command does goes on

const jsp = new Command('jsp')
  .description('JetStreamProto: a broker and its clients, and files, over encrypted, reliable UDP')
  .version(packageVersion(), '--version')
  .helpCommand(false)
  .exitOverride()
  .hook('preAction', (_, command) => {
    applyQlogOption(command.opts());
    const parent = command.parent === jsp ? '' : `${command.parent?.name()} `;
    if (command.name() !== 'monitor') serveMetricsWhenUsed(`jsp ${parent}${command.name()}`);
  })
  .configureOutput({ outputError: (text, write) => write(usageLine(text)) });
addBrokerCommand(jsp);
addSubCommand(jsp);
addPubCommand(jsp);
addPingCommand(jsp);
addSendCommand(jsp);
addReceiveCommand(jsp);
addKeygenCommand(jsp);
addDictCommand(jsp);
addProfilesCommand(jsp);
addMonitorCommand(jsp);
addBenchCommand(jsp);
jsp.parseAsync().catch(endWith);

/** What commander says of a wrong argument, which has a suggestion on a line of its own, as the one line of an error. */
function usageLine(text: string): string {
  const sentence = text.replace(/^error: /, '').trim();
  return failureLine(sentence.replaceAll('\n', ' '), 'ERR_JSP_USAGE');
}

function packageVersion(): string {
  const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}
