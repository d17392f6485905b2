import { expect, test } from 'vitest';
import { natsProgram } from '../broker/backplane/nats-server.ts';
import { cutDatacentres } from './cut-datacentres.ts';

// A minute: npm run crash -- datacentres --seconds 60.

const program = natsProgram();

test.skipIf(program === null)(
  'two data centres that are cut from each other for two seconds lose nothing that was acknowledged, each goes on with QoS 0, and both have one view afterwards [CLU-5] [CLU-34] [CLU-40]',
  async () => {
    const { acknowledged, liveHere, liveThere } = await cutDatacentres({
      program: program as string,
      seconds: 2,
      pace: { burst: 1, pauseMs: 20 },
    });
    expect(acknowledged).toBeGreaterThan(50);
    expect(Math.min(liveHere, liveThere)).toBeGreaterThan(20);
  },
);
