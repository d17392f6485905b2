/** Runs the world of a seed: brokers that are one over a model of NATS, which crash, are cut off and come back, clients that move between them, and the model that judges. */

import { BrokerWorld, runWorld } from '../broker/run.ts';
import type { Totals } from '../totals.ts';
import { ModelNats } from './model-nats.ts';
import { NodeHost } from './node-host.ts';
import { type ClusterScenario, clusterScenarioOf, groupsScenarioOf } from './scenario.ts';
import { ValueWitness } from './value-witness.ts';

/** Runs the world of a seed to its end and answers what it met. Rejects, naming the seed, when a promise is broken. */
export function runClusterSeed(seed: number): Promise<Totals> {
  return runClusterWorld(seed, clusterScenarioOf(seed));
}

/** The same of a world with shared groups. */
export function runGroupsSeed(seed: number): Promise<Totals> {
  return runClusterWorld(seed, groupsScenarioOf(seed));
}

/** The same of a world that a test has thought of. */
export function runClusterWorld(seed: number, scenario: ClusterScenario): Promise<Totals> {
  const hasValues = scenario.clients.some(({ publishers }) => publishers.some(({ retain }) => retain));
  const world = new BrokerWorld(
    scenario,
    (of) => {
      const nats = new ModelNats(of.clock, of.random.fork(), scenario.nats);
      return Array.from({ length: scenario.brokers }, (_, i) => new NodeHost(of, nats, scenario, i));
    },
    (of) => (hasValues ? new ValueWitness(of) : null),
  );
  return runWorld(world, seed);
}
