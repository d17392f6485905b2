#!/usr/bin/env node
import { endWith } from './failure.ts';
import { createProgram } from './program.ts';

createProgram().parseAsync().catch(endWith);
