import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { MILLISECOND } from '../../../../src/base/time.ts';
import { ClusterNumbers } from '../../../../src/broker/backplane/claims/numbers.ts';
import { NatsLine } from '../../../../src/broker/backplane/nats/line.ts';
import { openNats } from '../../../../src/broker/backplane/nats/nats-backplane.ts';
import { SystemClock, type TimerHandle } from '../../../../src/udp/clock.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';

const program = natsProgram();

describe.skipIf(program === null)('the start of a node', () => {
  let server: NatsServer;

  beforeAll(async () => {
    server = await NatsServer.start(program as string);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
  afterAll(async () => {
    await server.stop();
  });

  const opened = (cluster: string, clock = new SystemClock()) =>
    openNats(
      { kind: 'nats', urls: [server.url], cluster, node: 'one' },
      { clock, wallMs: Date.now, version: '0', logs: [] },
    );

  test('comes to an end where NATS never says what it asks, and tells what has gone wrong meanwhile [CLU-14]', async () => {
    const clock = new Held();
    const lines = gathered();
    vi.spyOn(ClusterNumbers.prototype, 'start').mockImplementation(() => {
      lines()[0].attempt(() => fail('odd'));
      clock.passLong();
    });
    await expect(opened('silent', clock)).rejects.toMatchObject({
      code: 'ERR_JSP_BACKPLANE_FAILED',
      message: expect.stringMatching(/within 30 s: odd$/),
    });
  });

  test('tells a fault that it has survived to whoever listens later [CLU-14]', async () => {
    const start = ClusterNumbers.prototype.start;
    const lines = gathered();
    vi.spyOn(ClusterNumbers.prototype, 'start').mockImplementation(function (this: ClusterNumbers, done) {
      lines()[0].attempt(() => fail('odd'));
      start.call(this, done);
    });
    const backplane = await opened('hurt');
    const faults: unknown[] = [];
    backplane.onFault = (fault) => faults.push(fault);
    expect(faults).toEqual([expect.objectContaining({ message: 'odd' })]);
    await backplane.close();
  });
});

/** The lines that are opened from now on. */
function gathered(): () => readonly NatsLine[] {
  const lines: NatsLine[] = [];
  const open = NatsLine.open;
  vi.spyOn(NatsLine, 'open').mockImplementation(async (...args) => {
    const line = await open.apply(NatsLine, args);
    lines.push(line);
    return line;
  });
  return () => lines;
}

function fail(message: string): never {
  throw new Error(message);
}

/** What would take long is over when the test says so. */
class Held extends SystemClock {
  private readonly held: (() => void)[] = [];

  override setTimer(at: number, callback: () => void): TimerHandle {
    if (at - this.now() < LONG_MS * MILLISECOND) return super.setTimer(at, callback);
    this.held.push(callback);
    return callback;
  }

  override clearTimer(timer: TimerHandle): void {
    const i = this.held.indexOf(timer as () => void);
    if (i < 0) super.clearTimer(timer);
    else this.held.splice(i, 1);
  }

  passLong(): void {
    for (const callback of this.held.splice(0)) callback();
  }
}

const LONG_MS = 20_000;
