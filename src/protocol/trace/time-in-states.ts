import { MILLISECOND, type Micros } from '../../base/time.ts';

/** Whose turn it is that no more is sent now. [CON-70] */
export type SendLimit = 'idle' | 'application' | 'window' | 'pacing' | 'flow-control';

/** How long something was in each of its states. Costs a comparison where its state is looked at, and a time stamp where it changed. */
export class TimeInStates<State extends string> {
  /** What it is in now. */
  state: State;
  private since: Micros;
  private readonly states: readonly State[];
  /** Of those that it was in before; null while it was in no other. */
  private times: Record<State, Micros> | null = null;

  constructor(states: readonly State[], first: State, now: Micros) {
    this.state = first;
    this.since = now;
    this.states = states;
  }

  move(state: State, now: Micros): void {
    if (state === this.state) return;
    if (now > this.since) {
      this.times ??= this.noTimes();
      this.times[this.state] += now - this.since;
      this.since = now;
    }
    this.state = state;
  }

  /** Milliseconds in each state until `now`. */
  upTo(now: Micros): Record<State, number> {
    const ms = { ...(this.times ?? this.noTimes()) };
    if (now > this.since) ms[this.state] += now - this.since;
    for (const state of Object.keys(ms) as State[]) ms[state] /= MILLISECOND;
    return ms;
  }

  private noTimes(): Record<State, Micros> {
    return Object.fromEntries(this.states.map((state) => [state, 0])) as Record<State, Micros>;
  }
}

/** What one connection did with its time. */
export class ConnectionTimes<CongestionState extends string> {
  readonly startedAt: Micros;
  /** When the handshake was complete; -1 before. */
  completedAt: Micros = -1;
  readonly congestion: TimeInStates<CongestionState>;
  readonly limit: TimeInStates<SendLimit>;

  constructor(states: readonly CongestionState[], first: CongestionState, now: Micros) {
    this.startedAt = now;
    this.congestion = new TimeInStates(states, first, now);
    this.limit = new TimeInStates(SEND_LIMITS, 'idle', now);
  }
}

export const SEND_LIMITS: readonly SendLimit[] = ['idle', 'application', 'window', 'pacing', 'flow-control'];
