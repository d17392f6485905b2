import { simulateBrokers } from './shard.ts';

simulateBrokers(1);
