import { Prng } from '../../src/base/random.ts';
import { MILLISECOND, SECOND } from '../../src/base/time.ts';
import { Identity } from '../../src/protocol/crypto/identity.ts';
import { World } from '../../src/testing/world.ts';
import { Application, SharedStreams } from './application.ts';
import { Violation } from './invariants.ts';
import { Peer } from './peer.ts';
import { otherSide, type Scenario, SIDES, type Side, scenarioOf } from './scenario.ts';
import { Totals } from './totals.ts';

/** Runs the scenario of a seed to its end and answers what it met. Throws, naming the seed, when a promise is broken. */
export function runSeed(seed: number): Totals {
  return runScenario(scenarioOf(seed));
}

export function runScenario(scenario: Scenario): Totals {
  const run = new SimulationRun(scenario);
  run.toItsEnd();
  return run.totals();
}

class SimulationRun {
  private readonly scenario: Scenario;
  private readonly world: World;
  private readonly shared: SharedStreams;
  private readonly peers: Record<Side, Peer>;
  private readonly applications: Record<Side, Application>;
  private begunAt = 0;
  /** Flows before this one have got all they can expect. */
  private satisfied = 0;

  constructor(scenario: Scenario) {
    const { seed, limits, links, loopback } = scenario;
    const random = new Prng(seed);
    const makePeer = (side: Side): Peer =>
      new Peer(side, limits[side], scenario.crypto, random.fork(), IDENTITY, loopback);
    this.scenario = scenario;
    this.world = new World({ seed, turnsMax: TURNS_MAX });
    this.world.network.connect('client', 'server', links.client, links.server);
    this.shared = new SharedStreams(scenario);
    this.peers = { client: makePeer('client'), server: makePeer('server') };
    this.applications = {
      client: new Application(this.peers.client, this.shared),
      server: new Application(this.peers.server, this.shared),
    };
    for (const side of SIDES) this.join(side);
    this.peers.client.connect('server', PORT, IDENTITY.fingerprint, loopback, this.world.now);
  }

  /** Handshake, traffic, close, oblivion: each must come to its end. */
  toItsEnd(): void {
    this.until('the handshake', 200, () => this.isConnected || this.isClosed);
    this.begin();
    this.until('the traffic', TRAFFIC_SECONDS_MAX, () => this.isSatisfied || this.isClosed);
    if (this.scenario.ending.kind === 'graceful') {
      if (!this.isSatisfied) this.fail(`closed too early: ${this.reasons}; ${this.missing}`);
      this.closeGracefully();
    }
    this.until('the close', 600, () => this.isClosed);
    this.checkReasons();
    if (this.world.run({ forMs: 600_000 }) !== 'quiet')
      this.fail('both sides closed, but they do not come to rest');
    for (const side of SIDES) {
      const { connectionsOpen } = this.peers[side].endpoint.counters;
      if (connectionsOpen !== 0) this.fail(`the ${side} still has ${connectionsOpen} connections`);
    }
  }

  totals(): Totals {
    const totals = new Totals();
    totals.add(`runs, ${this.scenario.crypto} crypto`, 1);
    totals.add(`runs, ${this.scenario.ending.kind} close`, 1);
    totals.add('virtual seconds', (this.world.now - this.begunAt) / SECOND);
    totals.add(
      'messages delivered',
      this.shared.flows.reduce((sum, { delivered }) => sum + delivered, 0),
    );
    for (const side of SIDES) {
      totals.addAll('', this.peers[side].counts());
      totals.addAll('link ', { ...this.world.network.link(side, otherSide(side)).counters });
    }
    return totals;
  }

  private join(side: Side): void {
    const application = this.applications[side];
    const pump = (): void => application.pump();
    application.node = this.world.add(this.peers[side].endpoint, { host: side, port: PORT, pump });
  }

  private get isConnected(): boolean {
    return SIDES.every((side) => this.applications[side].connectedAt >= 0);
  }

  private get isClosed(): boolean {
    return SIDES.every((side) => this.applications[side].closed !== null);
  }

  /** Both sides are there: from now on the network changes, and an abrupt end is due. */
  private begin(): void {
    const { changes, ending } = this.scenario;
    this.begunAt = this.world.now;
    for (const { atMs, from, options } of changes) {
      this.world.clock.schedule(this.world.now + atMs * MILLISECOND, () => {
        this.world.network.link(from, otherSide(from)).change(options, this.world.now);
      });
    }
    if (ending.kind !== 'abrupt') return;
    const application = this.applications[ending.by];
    application.at.at(this.world.now + ending.atMs * MILLISECOND, () => {
      this.shared.breakAll();
      this.peers[ending.by].connection?.lifecycle.close('application', ABRUPT_CODE, 'abrupt', this.world.now);
    });
  }

  /** True when every flow got all that it was promised. What is satisfied stays so. */
  private get isSatisfied(): boolean {
    const { flows } = this.shared;
    if (this.scenario.ending.kind === 'abrupt') return false;
    while (this.satisfied < flows.length && flows[this.satisfied].missing === undefined) this.satisfied++;
    return this.satisfied === flows.length;
  }

  private closeGracefully(): void {
    const { by } = this.scenario.ending;
    const deadline = this.world.now + 20 * SECOND;
    this.applications[by].at.at(this.world.now, () => {
      this.peers[by].connection?.lifecycle.finish(
        GRACEFUL_CODE,
        'done',
        deadline,
        20 * SECOND,
        this.world.now,
      );
    });
  }

  /** Both sides know who closed and why; only a CONNECTION_CLOSE that was lost every time may look like silence, or like a peer that knows of nothing. */
  private checkReasons(): void {
    const { by, kind } = this.scenario.ending;
    const code = kind === 'graceful' ? GRACEFUL_CODE : ABRUPT_CODE;
    for (const side of SIDES) {
      const reason = this.applications[side].closed;
      if (reason === null) continue;
      const isExpected = reason.scope === 'application' && reason.code === code;
      const mayBeSilence = side !== by && (reason.by === 'timeout' || reason.by === 'reset');
      if (!isExpected && !mayBeSilence) this.fail(`the ${side} was closed: ${JSON.stringify(reason)}`);
    }
  }

  private until(what: string, seconds: number, predicate: () => boolean): void {
    const end = this.world.run({ until: predicate, forMs: seconds * 1_000 });
    if (end === 'until') return;
    this.fail(`${what} does not end (${end} after ${seconds} s); ${this.missing}`);
  }

  /** What did not come that was promised, the beginning of it. */
  private get missing(): string {
    const missing = this.shared.flows.map((flow) => flow.missing).filter((text) => text !== undefined);
    return missing.slice(0, 5).join('; ');
  }

  private get reasons(): string {
    return SIDES.map((side) => `${side} ${JSON.stringify(this.applications[side].closed)}`).join(', ');
  }

  private fail(problem: string): never {
    throw new Violation(`seed ${this.scenario.seed}, at ${this.world.now} us: ${problem}`);
  }
}

const IDENTITY = Identity.generate(new Prng(1));
const PORT = 4577;
const GRACEFUL_CODE = 3;
const ABRUPT_CODE = 9;
const TRAFFIC_SECONDS_MAX = 900;
const TURNS_MAX = 1_000_000;
