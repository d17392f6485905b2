import { describe, expect, test } from 'vitest';
import { AddressValidation } from '../../../src/protocol/path/path.ts';

describe('the amplification limit [CON-4]', () => {
  test('lets three times the bytes out that came, to the byte', () => {
    const limit = new AddressValidation(false);
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
    const limit = new AddressValidation(false);
    expect(limit.datagramBytesMax).toBe(0);
    limit.onReceived(600);
    limit.onReceived(512);
    expect(limit.datagramBytesMax).toBe(600);
    limit.onReceived(601);
    expect(limit.datagramBytesMax).toBe(601);
  });

  test('ends with validation, whatever was sent; the largest that came is still known', () => {
    const limit = new AddressValidation(false);
    limit.onReceived(700);
    limit.onSent(2_100);
    limit.isValidated = true;
    expect(limit.allowance).toBe(Number.POSITIVE_INFINITY);
    expect(limit.datagramBytesMax).toBe(Number.POSITIVE_INFINITY);
    expect(limit.datagramBytesLargest).toBe(700);
  });

  test('does not hold for a client', () => {
    expect(new AddressValidation(true).allowance).toBe(Number.POSITIVE_INFINITY);
  });
});
