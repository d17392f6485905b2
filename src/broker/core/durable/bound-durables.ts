/** Which durable subscriptions are over with a session: those that were to be when they were begun. [BRK-133] */

import type { Session, SessionPart } from '../session/session.ts';

export class BoundDurables implements SessionPart {
  private readonly end: (name: string) => void;
  /** Their names, by the number of their session. */
  private readonly names = new Map<number, Set<string>>();

  /** @param end - ends the one of this name */
  constructor(end: (name: string) => void) {
    this.end = end;
  }

  /** @param session - its number; 0: it is bound to none */
  add(session: number, name: string): void {
    if (session === 0) return;
    let names = this.names.get(session);
    if (names === undefined) {
      names = new Set();
      this.names.set(session, names);
    }
    names.add(name);
  }

  remove(session: number, name: string): void {
    const names = this.names.get(session);
    if (names?.delete(name) === true && names.size === 0) this.names.delete(session);
  }

  onAway(): void {}

  onBack(): void {}

  onOver({ number }: Session): void {
    for (const name of [...(this.names.get(number) ?? [])]) this.end(name);
  }
}
