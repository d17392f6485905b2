#!/usr/bin/env node
import { endWith, endWithoutReader } from './failure.ts';
import { createProgram } from './program.ts';

process.stdout.on('error', endWithoutReader);
process.stderr.on('error', () => {}); // nobody is left to be told, and what the command does goes on
createProgram().parseAsync().catch(endWith);
