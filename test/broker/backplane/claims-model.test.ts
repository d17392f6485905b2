import { expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import type { FakeStream } from '../core/fake-client.ts';
import { FakeClient } from '../core/fake-client.ts';
import type { Guest } from '../core/world.ts';
import { type ClaimNode, ClaimWorld } from './claim-world.ts';

const NODES = ['a', 'b', 'c'];
const SEEDS = 60;

/** What clients do and what befalls nodes, for a minute; then all is well again, and everybody leaves. */
class Story {
  readonly world: ClaimWorld;
  readonly random: Prng;
  /** Wills that clients have left, and those that came out, by node. */
  willsLeft = 0;
  kills = 0;
  readonly published: string[] = [];
  private readonly guests = new Map<string, { guest: Guest; node: string }[]>();
  private listeners: FakeStream[] = [];

  constructor(seed: number) {
    this.random = new Prng(seed);
    this.world = new ClaimWorld(seed, NODES);
    this.world.lost = this.random.float() < 0.5 ? 0.05 : 0;
    for (const name of NODES) this.listen(name);
  }

  step(): void {
    const { world, random } = this;
    const node = world.node(NODES[random.below(NODES.length)]);
    const dice = random.float();
    if (node.isDead) {
      if (dice < 0.3) {
        world.start(node.run.node);
        this.listen(node.run.node);
      }
    } else if (dice < 0.55 && node.isReady) this.come(node.run.node);
    else if (dice < 0.8) this.leave();
    else if (dice < 0.83) {
      this.kills++;
      world.kill(node.run.node);
    } else if (dice < 0.87 && !node.isCut) world.cut(node.run.node);
    else if (dice < 0.93 && node.isCut) world.heal(node.run.node);
    else if (dice > 0.97) node.isDeaf = true;
    else if (node.isDeaf) this.hearAgain(node);
    world.pass(random.below(dice > 0.5 ? 3_000 : 30));
    this.gather();
  }

  /** Every node is there, and hears. */
  calm(): void {
    for (const name of NODES) {
      const node = this.world.node(name);
      if (node.isDead) {
        this.world.start(name);
        this.listen(name);
      } else if (node.isCut) this.world.heal(name);
      this.hearAgain(this.world.node(name));
    }
    this.world.lost = 0;
    this.world.pass(30_000);
    this.gather();
  }

  /** Nodes at which a session is that somebody is connected to. */
  presentAt(session: string): string[] {
    return this.world
      .living()
      .filter(({ core }) =>
        [...core.inspection.sessions()].some(({ name, client }) => name === session && client !== null),
      )
      .map(({ run }) => run.node);
  }

  get sessions(): Iterable<string> {
    return this.guests.keys();
  }

  end(): void {
    for (const all of this.guests.values()) for (const { guest, node } of all) this.disconnect(guest, node);
    this.world.pass(60_000);
    this.gather();
  }

  /** What was said meanwhile is lost, as where the connection was. */
  private hearAgain(node: ClaimNode): void {
    if (node.isDeaf) node.orphans.lookAgain();
    node.isDeaf = false;
  }

  private come(node: string): void {
    const { random } = this;
    const name = `s${random.below(6)}`;
    const expiryMs = random.float() < 0.2 ? 0 : 20_000;
    const guest = this.world.node(node).hello(name, { expiryMs, cleanStart: random.float() < 0.1 });
    const all = this.guests.get(name) ?? [];
    this.guests.set(name, all);
    all.push({ guest, node });
    if (random.float() < 0.6)
      guest.will('will', `${++this.willsLeft}`, random.float() < 0.5 ? 0 : random.below(10_000));
  }

  private leave(): void {
    const names = [...this.guests.keys()];
    if (names.length === 0) return;
    const gone = this.guests.get(names[this.random.below(names.length)])?.shift();
    if (gone !== undefined) this.disconnect(gone.guest, gone.node);
  }

  private disconnect(guest: Guest, node: string): void {
    const { core, isDead } = this.world.node(node);
    if (!isDead && guest.closedWith === null && core.inspection.clients.has(guest.client.end)) guest.leave();
  }

  private listen(node: string): void {
    const stream = new FakeClient(this.world.node(node).core).open();
    stream.subscribe(1, 'will');
    this.listeners.push(stream);
  }

  private gather(): void {
    for (const { link } of this.listeners) {
      for (const message of link.delivered.splice(0)) {
        if (message[0] === 0x01) this.published.push(Buffer.from(message.subarray(12)).toString());
      }
    }
  }
}

test('whatever befalls nodes and what is between them, a session has one holder, wills come once, and nothing is left in the end [CLU-20] [CLU-24] [CLU-26]', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const story = new Story(seed);
    for (let step = 0; step < 40; step++) story.step();
    story.calm();
    const { world } = story;
    const about = `seed ${seed}`;
    for (const name of story.sessions) {
      const at = story.presentAt(name);
      expect(at.length, about).toBeLessThanOrEqual(1);
      if (at.length === 1) expect(world.table.holderOf(`s/${name}`), about).toBe(at[0]);
    }
    story.end();
    expect([...world.table.values.keys()], about).toEqual(['numbers']);
    expect(world.faults, about).toEqual([]);
    for (const { core, state } of world.living()) {
      expect(core.metrics(), about).toMatchObject({ sessions: 0, internalErrors: 0 });
      expect(state.synced, about).toBe(state.written);
    }
    // One that was published as its node died may come once more.
    const twice = story.published.length - new Set(story.published).size;
    expect(twice, about).toBeLessThanOrEqual(story.kills);
  }
});
