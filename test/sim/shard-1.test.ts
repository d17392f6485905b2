import { simulate } from './shard.ts';

simulate(1);
