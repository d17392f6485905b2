import { simulateBrokers } from './shard.ts';

simulateBrokers(2);
