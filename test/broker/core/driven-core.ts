import { type CoreDriver, carryOut } from '../../../src/broker/carrying.ts';
import type { Review } from '../../../src/broker/core/access/admission.ts';
import type { AuthDecision, AuthQuestion } from '../../../src/broker/core/access/principal.ts';
import { BrokerCore } from '../../../src/broker/core/broker-core.ts';
import type { Channel, Client } from '../../../src/broker/core/delivery/client.ts';
import type { AdminRequest, AuditRecord, Link } from '../../../src/broker/core/output.ts';

/** The core with what its driver does after each report: whatever it says is carried out, on streams and connections of the test's own. */
export class DrivenCore extends BrokerCore {
  /** What it wants to know of clients. */
  readonly questions: AuthQuestion[] = [];
  /** What it wants to be kept, and to have answered. */
  readonly trace: AuditRecord[] = [];
  readonly requests: AdminRequest[] = [];
  /** How often it was told that rules were read anew elsewhere. */
  accessReadings = 0;
  private inTurn = false;
  private timeMs = 0;
  private readonly driver: CoreDriver = {
    authenticate: (_client, question) => void this.questions.push(question),
    audit: (record) => void this.trace.push(record),
    administer: (request) => void this.requests.push(request),
    readAccess: () => this.accessReadings++,
  };

  /** The answer to the question that was asked first. */
  answer(decision: AuthDecision): void {
    const { number = 0 } = this.questions.shift() ?? {};
    this.turn(() => this.admission.decide(number, decision));
  }

  override advance(nowMs: number, wallMs: number): void {
    this.turn(() => super.advance(nowMs, wallMs));
  }

  override opened(client: Client, link: Link): Channel {
    return this.turn(() => super.opened(client, link));
  }

  override received(channel: Channel, message: Uint8Array): void {
    this.turn(() => super.received(channel, message));
  }

  override drained(channel: Channel): void {
    this.turn(() => super.drained(channel));
  }

  override ended(channel: Channel): void {
    this.turn(() => super.ended(channel));
  }

  override disconnected(client: Client): void {
    this.turn(() => super.disconnected(client));
  }

  override reauthorize(review: Review): void {
    this.turn(() => super.reauthorize(review));
  }

  /** Does what there is to do, without a report. */
  look(): void {
    this.turn(() => {});
  }

  /** So many ms pass. */
  goOn(ms: number): void {
    this.timeMs += ms;
    this.turn(() => this.advance(this.timeMs, this.timeMs));
  }

  override tick(nowMs: number): void {
    this.turn(() => super.tick(nowMs));
  }

  override shutDown(windowMs?: number): void {
    this.turn(() => super.shutDown(windowMs));
  }

  private turn<T>(report: () => T): T {
    const result = report();
    if (this.inTurn) return result;
    this.inTurn = true;
    carryOut(this, this.driver);
    this.inTurn = false;
    return result;
  }
}
