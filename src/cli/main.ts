#!/usr/bin/env node
import { endWith, endWithoutReader } from './failure.ts';
import { createProgram } from './program.ts';

process.stdout.on('error', endWithoutReader);
createProgram().parseAsync().catch(endWith);
