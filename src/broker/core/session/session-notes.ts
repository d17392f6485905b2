/**
 * What a door of the broker remembers of its clients' sessions beyond what the broker itself does, such as the subscriptions of a client of MQTT with their options: opaque
 * bytes that live as long as the session, also in the store, and go with it where it goes. [BRK-130]
 */

import type { StatePort } from '../store-port.ts';
import type { Session, SessionPart } from './session.ts';

export class SessionNotes implements SessionPart {
  private readonly state: StatePort;
  /** What all notes take. */
  private bytes = 0;

  constructor(state: StatePort) {
    this.state = state;
  }

  /** The note of a session; null: it has none. */
  of(session: Session): Uint8Array | null {
    return (session.name !== null && this.state.get(NOTE_KEYS + session.name)) || null;
  }

  /** Takes the note of a session, which is kept, in the place of the one before; an empty one takes that away. False: it is too large, or all together would be. [BRK-130] */
  set(session: Session, note: Uint8Array): boolean {
    if (session.number === 0) return note.length === 0;
    const key = NOTE_KEYS + session.name;
    const freed = this.chargeOf(key);
    if (note.length === 0) {
      this.bytes -= freed;
      this.state.delete(key);
      return true;
    }
    const charge = note.length + NOTE_CHARGE_BYTES;
    if (note.length > NOTE_BYTES_MAX || this.bytes - freed + charge > NOTES_BYTES_MAX) return false;
    this.bytes += charge - freed;
    this.state.put(key, Uint8Array.from(note));
    return true;
  }

  onAway(): void {}

  onBack(): void {}

  onOver(session: Session): void {
    if (session.number > 0) this.set(session, NOTHING);
  }

  onMoved(session: Session): void {
    this.bytes -= this.chargeOf(NOTE_KEYS + session.name);
  }

  /** A session has come with its note. */
  takeUp(name: string): void {
    this.bytes += this.chargeOf(NOTE_KEYS + name);
  }

  /** Takes up what the store has kept. */
  restore(isThere: (name: string) => boolean): void {
    for (const [key, note] of [...this.state.entries(NOTE_KEYS)]) {
      if (isThere(key.slice(NOTE_KEYS.length))) this.bytes += note.length + NOTE_CHARGE_BYTES;
      else this.state.delete(key);
    }
  }

  private chargeOf(key: string): number {
    const note = this.state.get(key);
    return note === undefined ? 0 : note.length + NOTE_CHARGE_BYTES;
  }
}

export const NOTE_KEYS = 'note/';
const NOTHING = new Uint8Array();
const NOTE_BYTES_MAX = 64 * 1024;
/** Of all notes together. */
const NOTES_BYTES_MAX = 256 * 1024 * 1024;
const NOTE_CHARGE_BYTES = 256;
