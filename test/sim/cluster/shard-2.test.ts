import { simulateClusters } from './shard.ts';

simulateClusters(2);
