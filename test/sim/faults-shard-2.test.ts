import { simulateFaults } from './faults-shard.ts';

simulateFaults(2);
