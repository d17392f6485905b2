import { describe, expect, test } from 'vitest';
import {
  checkedConnectionConfig,
  defaultConnectionConfig,
  localParameters,
} from '../../../src/protocol/connection/config.ts';
import { checkServerIds } from '../../../src/protocol/connection/handshake-progress.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { AEAD, bytesOf, config, Pair } from './pair.ts';

describe('failures to open', () => {
  test('close the connection when they reach the limit of the AEAD [PKT-15]', () => {
    const pair = new Pair({ server: { openFailuresMax: 50 } }).connected().run(500);
    for (let i = 0; i < 60; i++) {
      pair.client.inject(Buffer.concat([Uint8Array.of(0x40), pair.server.core.ids.sourceId, bytesOf(60, i)]));
      if (i === 48) pair.run(10);
      if (i === 48) expect(pair.server.closed).toBeNull();
    }
    pair.run(10);
    expect(pair.server.closed).toMatchObject({ by: 'local', code: CloseCode.AEAD_LIMIT_REACHED });
    expect(pair.server.core.counters.packetsUnopened).toBe(50);
    pair.until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({ by: 'peer', code: CloseCode.AEAD_LIMIT_REACHED });
    const [close] = pair.server.frames(FrameType.CONNECTION_CLOSE);
    expect(close.frameType).toBe(0); // no frame is at fault
  });
});

describe('the configuration of a connection', () => {
  test('is right as it is by default', () => {
    expect(() => checkedConnectionConfig(defaultConnectionConfig(AEAD))).not.toThrow();
    expect(defaultConnectionConfig(AEAD).openFailuresMax).toBe(2 ** 36);
  });

  test('is raised to what a message of the largest size needs', () => {
    const { streamWindowBytes, connectionWindowBytes, mtuMax } = config({
      mtu: 2_000,
      messageBytesMax: 1_000_000,
      streamWindowBytes: 1,
      connectionWindowBytes: 1,
    });
    expect(streamWindowBytes).toBeGreaterThanOrEqual(1_000_128);
    expect(connectionWindowBytes).toBe(2 * streamWindowBytes);
    expect(mtuMax).toBe(2_000);
  });

  test.each([
    ['mtu', 511],
    ['mtu', 65_508],
    ['mtuMax', 0],
    ['receiveDatagramBytesMax', 511],
    ['handshakeTimeoutMs', 0],
    ['idleTimeoutMs', -1],
    ['heartbeatMs', 1.5],
    ['heartbeatMisses', 0],
    ['messageBytesMax', 0],
    ['messageBytesMax', 2 ** 31],
    ['streamsMax', Number.NaN],
    ['bestEffortBytes', -5],
    ['openFailuresMax', 2 ** 37],
    ['ackDelayMaxMs', 0],
  ] as const)('refuses a %s of %d', (name, value) => {
    expect(() => config({ [name]: value })).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID', message: expect.stringContaining(name) }),
    );
  });

  test('is what the peer is told [FRM-15]', () => {
    const settings = config({ idleTimeoutMs: 7, streamsMax: 3, messageBytesMax: 999, heartbeatMs: 11 });
    const parameters = localParameters(settings, bytesOf(8), bytesOf(9));
    expect(parameters).toMatchObject({
      originalDestinationId: bytesOf(9),
      sourceId: bytesOf(8),
      retrySourceId: null,
      idleTimeoutMs: 7,
      initialMaxStreams: 3,
      maxMessageBytes: 999,
      heartbeatMs: 11,
      initialMaxStreamData: settings.streamWindowStartBytes,
      initialMaxData: settings.connectionWindowStartBytes,
    });
    const ids = {
      destinationId: bytesOf(8),
      firstDestinationId: bytesOf(9),
      retrySourceId: null as Uint8Array | null,
    };
    expect(checkServerIds(parameters, ids)).toBe(0);
    const wrong = CloseCode.TRANSPORT_PARAMETER_ERROR;
    expect(checkServerIds(parameters, { ...ids, destinationId: bytesOf(7) })).toBe(wrong);
    expect(checkServerIds(parameters, { ...ids, firstDestinationId: bytesOf(8) })).toBe(wrong);
    expect(checkServerIds({ ...parameters, originalDestinationId: null }, ids)).toBe(wrong);
    // The id of a Retry is there where there was one, and then it is that.
    const retried = { ...parameters, retrySourceId: bytesOf(8, 2) };
    expect(checkServerIds(retried, ids)).toBe(wrong);
    expect(checkServerIds(parameters, { ...ids, retrySourceId: bytesOf(8, 2) })).toBe(wrong);
    expect(checkServerIds(retried, { ...ids, retrySourceId: bytesOf(8, 3) })).toBe(wrong);
    expect(checkServerIds(retried, { ...ids, retrySourceId: bytesOf(8, 2) })).toBe(0);
  });

  test('with short acknowledgement delays and few streams works', () => {
    const odd = {
      ackDelayMaxMs: 1,
      streamsMax: 1,
      messageBytesMax: 10,
      bestEffortBytes: 0,
      congestionWindowBytesMax: 16_384,
    };
    const pair = new Pair({ client: odd, server: odd }).connected();
    pair.echo('').run(100);
    expect(pair.client.frames(FrameType.CONNECTION_CLOSE)).toEqual([]);
  });
});
