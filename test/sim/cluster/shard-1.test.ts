import { simulateClusters } from './shard.ts';

simulateClusters(1);
