/**
 * The sessions of callers by HTTP, who have no connection of their own that would last: all who prove the same share one, and all of an address who prove nothing, so that a request does not cost a HELLO, and the
 * end of their credentials ends it for all of them. [GW-11] They are bounded, and go when nobody has used them for 75 s.
 */

import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import type { ConnectionFacts } from '../pubsub/message-stream.ts';
import { AuthMethod } from '../pubsub/session-commands.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import { Asking, askingName } from './asking.ts';
import type { Backend } from './backend.ts';
import { ANONYMOUS, keyOf, networkOf } from './caller.ts';
import { LastValues } from './last-values.ts';
import { Problem, problemOfEntry } from './problem.ts';
import { type Proof, Session, type SessionRequest } from './session.ts';

/** One of them. Requests have the address from which the last one came. */
class Shared {
  readonly facts: HttpFacts;
  /** Until it is there. */
  readonly opening: Promise<Session>;
  session: Session | null = null;
  usedAt: Micros = 0;

  constructor(facts: HttpFacts, opening: Promise<Session>) {
    this.facts = facts;
    this.opening = opening;
  }
}

export class SharedSessions {
  private readonly sessions = new Map<string, Shared>();
  private readonly askings = new WeakMap<Session, Asking>();
  private readonly values = new WeakMap<Session, LastValues>();
  private readonly backend: Backend;
  private readonly clock: Clock;
  private readonly max: number;
  /** The one that was used last: the last in the map. */
  private latest: Shared | null = null;
  private sweep: TimerHandle | null = null;
  private isClosed = false;
  /** That of the caller without credentials who has come last, and the key by which they are known. */
  private latestAddress = '';
  private latestKey = '@';

  constructor(backend: Backend, clock: Clock, max: number) {
    this.backend = backend;
    this.clock = clock;
    this.max = max;
  }

  get size(): number {
    return this.sessions.size;
  }

  /**
   * The session of whoever proves this. At once, where it is there.
   *
   * @throws {Problem | JspError} what the broker refuses it for
   */
  of(proof: Proof, address: string): Session | Promise<Session> {
    const key = this.keyOf(proof, address);
    // [GW-27] who publishes to others than those who make this one wait does not wait with it
    for (let i = 0; i < ABREAST_MAX; i++) {
      if (!this.isStopped(`${key}#${i}`)) return this.named(`${key}#${i}`, proof, address);
    }
    return this.named(`${key}#0`, proof, address);
  }

  /** For a while, the broker has answered nothing of this session that waits: as a rule because a subscriber makes publishers wait. */
  private isStopped(key: string): boolean {
    const waitingSince = this.sessions.get(key)?.session?.waitingSince ?? NEVER;
    return waitingSince !== NEVER && waitingSince <= this.clock.now() - STOPPED_MS * MILLISECOND;
  }

  /** What asks in the name of whoever proves this: a session of its own, for it has a name. */
  async askingOf(proof: Proof, address: string): Promise<Asking> {
    const session = await this.named(`${this.keyOf(proof, address)}?`, proof, address, askingName());
    let asking = this.askings.get(session);
    if (asking === undefined) {
      asking = new Asking(session, this.clock);
      this.askings.set(session, asking);
    }
    return asking;
  }

  /** What finds the last values of topics for whoever proves this. */
  async lastValuesOf(proof: Proof, address: string): Promise<LastValues> {
    const session = await this.of(proof, address);
    let values = this.values.get(session);
    if (values === undefined) {
      values = new LastValues(session);
      this.values.set(session, values);
    }
    return values;
  }

  /** By what is proved; where that is nothing by the address, for that is how the broker counts them: one could use up the rate of all others otherwise. [BRK-120] */
  private keyOf(proof: Proof, address: string): string {
    if (proof.method !== AuthMethod.NONE || !this.backend.tellsAddress) return keyOf(proof);
    if (this.latestAddress !== address) {
      this.latestAddress = address;
      this.latestKey = `@${networkOf(address)}`;
    }
    return this.latestKey;
  }

  private named(key: string, proof: Proof, address: string, name = ''): Session | Promise<Session> {
    const known = this.sessions.get(key);
    if (known !== undefined) {
      // The last one used is the last in the map, and the first the one to go.
      if (known !== this.latest) {
        this.sessions.delete(key);
        this.sessions.set(key, known);
        this.latest = known;
      }
      known.usedAt = this.clock.now();
      known.facts.address = address;
      return known.session ?? known.opening;
    }
    this.makeRoom();
    const facts = new HttpFacts(address);
    const shared: Shared = new Shared(facts, this.open(key, { proof, name }, facts));
    shared.usedAt = this.clock.now();
    this.sessions.set(key, shared);
    this.latest = shared;
    this.sweepLater();
    shared.opening.then(
      (session) => {
        shared.session = session;
        if (session.isOver || this.isClosed) this.forget(key, shared);
      },
      () => this.forget(key, shared),
    );
    return shared.opening;
  }

  close(): void {
    this.isClosed = true;
    if (this.sweep !== null) this.clock.clearTimer(this.sweep);
    for (const [key, shared] of [...this.sessions]) this.forget(key, shared);
  }

  /** @throws {Problem} */
  private async open(key: string, request: SessionRequest, facts: HttpFacts): Promise<Session> {
    try {
      return await this.connected(key, request, facts);
    } catch (error) {
      throw problemOfEntry(error, request.proof === ANONYMOUS);
    }
  }

  private async connected(key: string, request: SessionRequest, facts: HttpFacts): Promise<Session> {
    const connection = await this.backend.connect(facts);
    return await Session.open(
      connection,
      request,
      {
        onClosed: () => {
          const known = this.sessions.get(key);
          if (known?.facts === facts) this.forget(key, known);
        },
      },
      this.clock,
    );
  }

  private forget(key: string, shared: Shared): void {
    if (this.sessions.get(key) === shared) this.sessions.delete(key);
    if (this.latest === shared) this.latest = null;
    shared.session?.close();
  }

  /** Nothing of it is under way: no message that the broker has not answered, no request, no question for a last value. */
  private isIdle({ session }: Shared): boolean {
    if (session === null || session.pending > 0) return false;
    return (this.askings.get(session)?.pending ?? 0) + (this.values.get(session)?.pending ?? 0) === 0;
  }

  /** The one goes that was not used for longest, if nothing of it is under way. */
  private makeRoom(): void {
    if (this.sessions.size < this.max) return;
    for (const [key, shared] of this.sessions) {
      if (!this.isIdle(shared)) continue;
      this.forget(key, shared);
      return;
    }
    throw new Problem('OVERLOADED', `The gateway has ${this.max} sessions, all of which are in use.`, {
      retryAfterMs: 1_000,
    });
  }

  private sweepLater(): void {
    if (this.sweep !== null || this.isClosed) return;
    const { clock } = this;
    this.sweep = clock.setTimer(clock.now() + SWEEP_MS * MILLISECOND, () => {
      this.sweep = null;
      const before = clock.now() - IDLE_MS * MILLISECOND;
      for (const [key, shared] of [...this.sessions]) {
        if (shared.usedAt > before) break;
        if (this.isIdle(shared)) this.forget(key, shared);
      }
      if (this.sessions.size > 0) this.sweepLater();
    });
  }
}

/** What the broker is told of a connection that stands for many requests. */
class HttpFacts implements ConnectionFacts {
  readonly door = 'http';
  readonly overLimit = 'refuse';
  address: string;

  constructor(address: string) {
    this.address = address;
  }

  exporter(): null {
    return null; // [GW-11] what is proved to the gateway cannot be bound to the caller's own connection
  }

  link(): null {
    return null;
  }
}

/** Longer than any request may wait for its answer. */
const IDLE_MS = 75_000;
/** A session that was not answered for so long is given nothing more while it is not, and so many of the same caller there may be. */
const STOPPED_MS = 250;
const ABREAST_MAX = 8;
const SWEEP_MS = 10_000;
