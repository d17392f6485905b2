import { simulate } from './shard.ts';

simulate(3);
