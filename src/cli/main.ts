#!/usr/bin/env node
import { createProgram } from './program.ts';
import { endWith, endWithoutReader } from './terminal.ts';

process.stdout.on('error', endWithoutReader);
process.stderr.on('error', () => {}); // nobody is left to be told, and what the command does goes on
createProgram().parseAsync().catch(endWith);
