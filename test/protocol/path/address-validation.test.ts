import { describe, expect, test } from 'vitest';
import { AddressState, AddressValidation } from '../../../src/protocol/path/path.ts';

describe('the amplification limit [CON-4]', () => {
  test('lets three times the bytes out that came, to the byte', () => {
    const limit = new AddressValidation(AddressState.UNKNOWN);
    expect(limit.allowance).toBe(0);
    limit.onReceived(1_000);
    expect(limit.allowance).toBe(3_000);
    limit.onSent(2_999);
    expect(limit.allowance).toBe(1);
    limit.onSent(1);
    expect(limit.allowance).toBe(0);
    limit.onReceived(512);
    expect(limit.allowance).toBe(1_536);
  });

  test('never lets a datagram out that is larger than the largest that came [PKT-19]', () => {
    const limit = new AddressValidation(AddressState.UNKNOWN);
    expect(limit.datagramBytesMax).toBe(0);
    limit.onReceived(600);
    limit.onReceived(512);
    expect(limit.datagramBytesMax).toBe(600);
    limit.onReceived(601);
    expect(limit.datagramBytesMax).toBe(601);
  });

  test('ends with validation, whatever was sent; the largest that came is still known', () => {
    const limit = new AddressValidation(AddressState.UNKNOWN);
    limit.onReceived(700);
    limit.onSent(2_100);
    limit.state = AddressState.VALIDATED;
    expect(limit.allowance).toBe(Number.POSITIVE_INFINITY);
    expect(limit.datagramBytesMax).toBe(Number.POSITIVE_INFINITY);
    expect(limit.datagramBytesLargest).toBe(700);
  });

  test('ends with a token, but no datagram is larger than what came before the client answers [HS-31]', () => {
    const limit = new AddressValidation(AddressState.BY_TOKEN);
    limit.onReceived(600);
    expect(limit.allowance).toBe(Number.POSITIVE_INFINITY);
    expect(limit.datagramBytesMax).toBe(600);
  });

  test('does not hold for a client', () => {
    expect(new AddressValidation(AddressState.VALIDATED).allowance).toBe(Number.POSITIVE_INFINITY);
  });
});
