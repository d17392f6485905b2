import { expect, onTestFinished, test, vi } from 'vitest';
import { serveMetrics } from '../../src/index.ts';
import { ProcessReader } from '../../src/monitor/index.ts';
import { emptyFolder } from '../empty-folder.ts';
import { labPair } from './lab-pair.ts';

test.skipIf(process.platform === 'win32')(
  'serveMetrics opens one place where the connections of the process are told, until it is closed [CON-73]',
  async () => {
    vi.stubEnv('TMPDIR', emptyFolder());
    onTestFinished(() => void vi.unstubAllEnvs());
    const before = await labPair(); // of before it was opened
    const endpoint = await serveMetrics();
    expect(await serveMetrics()).toBe(endpoint);
    const reader = await ProcessReader.open(process.pid);
    onTestFinished(() => reader.close());
    const { bytesSent, connections, connectionsOpen } = await reader.ask(10);
    expect(connectionsOpen).toBe(2);
    expect(connections.map(({ role }) => role).sort()).toEqual(['client', 'server']);
    expect(bytesSent).toBe(before.client.metrics().bytesSent + before.accepted.metrics().bytesSent);
    await before.lab.settle(before.client.close());
    await before.lab.settle(before.listener.close());
    expect(await reader.ask(10)).toMatchObject({ connectionsOpen: 0, connections: [] });
    await endpoint.close();
    await expect(reader.ask(1)).rejects.toMatchObject({ code: 'ERR_JSP_MONITOR' });
    const again = await serveMetrics();
    expect(again.path).toBe(endpoint.path);
    await again.close();
  },
);
