import { expect } from 'vitest';
import type { Endpoint } from '../../../src/protocol/endpoint/endpoint.ts';

/** Nothing is left in an endpoint whose connections are all forgotten. */
export function expectAtRest(endpoint: Endpoint): void {
  const inside = endpoint as unknown as {
    byId: { size: number };
    byFirstPacket: { size: number };
    deadlines: { size: number };
    ready: { length: number };
    /** Null at a client. */
    halfOpen: { size: number } | null;
  };
  expect(inside.byId.size).toBe(0);
  expect(inside.byFirstPacket.size).toBe(0);
  expect(inside.deadlines.size).toBe(0);
  expect(inside.ready.length).toBe(0);
  expect(inside.halfOpen?.size ?? 0).toBe(0);
}
