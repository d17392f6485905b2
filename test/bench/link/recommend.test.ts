import { describe, expect, test } from 'vitest';
import { recommend } from '../../../src/bench/link/recommend.ts';
import { shareOf } from '../../../src/bench/link/report.ts';
import { around, findings, load, loss, missing, row, trips } from './fixed-report.ts';

describe('the recommendation', () => {
  test('for a clean link is the largest size, cubic, no protection, with a reason for each', () => {
    const { reasons, warnings, ...choice } = recommend(findings());
    expect(choice).toEqual({
      mtu: 1_400,
      congestion: 'cubic',
      profile: 'gaming',
      protection: 'off',
      queueDelayMaxMs: null,
    });
    expect(reasons.map((reason) => reason.split(/[ :]/)[0])).toEqual([
      'MTU',
      'Congestion',
      'Protection',
      'Profile',
    ]);
    expect(warnings).toEqual([]);
  });

  test('for a link that loses each by itself is bbr, and protection for what must not wait', () => {
    const found = recommend(findings({ datagrams: [loss(0.01)] }));
    expect(found).toMatchObject({ congestion: 'bbr', protection: 'auto' });
    expect(found.reasons.join(' ')).toContain('loses 1.00 % by itself');
    expect(found.reasons.join(' ')).toContain('each by itself');
  });

  test('says of losses in bursts what they mean for protection', () => {
    const { reasons } = recommend(findings({ datagrams: [loss(0.01, { lossRunMean: 4.2 })] }));
    expect(reasons.join(' ')).toContain('in runs of 4.2');
  });

  test('for a black hole names the sizes that vanish and the largest that does not, and takes one that was measured', () => {
    const rows = [row(1_100), row(1_200), missing(1_400), missing(8_972)];
    const pathMtu = { bytes: 1_272, notBytes: 1_273, direction: 'up', larger: 'vanish' } as const;
    const { mtu, reasons, warnings } = recommend(findings({ rows, pathMtu }));
    expect(mtu).toBe(1_200);
    expect(warnings).toEqual([
      'Datagrams of 1,400 bytes and more do not arrive (a black hole: nobody says so): the path MTU is 1,272 bytes of UDP payload.',
    ]);
    expect(reasons[1]).toContain('up to 1,272');
  });

  test('tells a row that left a tenth of the link free, by what the others have shown it to carry, and no other', () => {
    const rows = [
      row(512, { load: load(58, { datagramsPerSecond: 15_588 }) }),
      row(1_200, { load: load(93) }),
      row(1_400, { load: load(92) }),
      row(1_200, { direction: 'down', load: load(20) }), // another way, which has shown no more
    ];
    const { warnings } = recommend(findings({ rows }));
    expect(warnings.filter((each) => each.includes('Mbit/s of the'))).toEqual([
      expect.stringMatching(
        /^512 bytes, up, cubic: 58\.0 Mbit\/s of the 8\d\.\d that .* 15,588 datagrams a second/,
      ),
    ]);
    const paced = recommend(findings({ rows, settings: { ...findings().settings, bitsPerSecond: 5e6 } }));
    expect(paced.warnings.join(' ')).not.toContain('Mbit/s of the');
  });

  test('never is a size that IP takes apart, however fast', () => {
    const rows = [row(1_200), row(8_972, { carried: 'fragments', load: load(40) })];
    const { mtu, warnings } = recommend(findings({ rows }));
    expect(mtu).toBe(1_200);
    expect(warnings[0]).toContain('8,972 bytes are taken apart');
  });

  test('is a smaller size where a larger one saves next to nothing, or carries clearly less; chance decides nothing', () => {
    const choose = (...rows: ReturnType<typeof row>[]) => recommend(findings({ rows })).mtu;
    expect(choose(row(1_400, { load: load(18) }), row(1_472, { load: load(18.1) }))).toBe(1_400);
    expect(choose(row(1_200, { load: load(18) }), row(1_400, { load: load(12) }))).toBe(1_200);
    expect(choose(row(1_100, { load: load(18.8) }), row(1_200, { load: load(18.6) }))).toBe(1_200);
  });

  test('goes by the losses of a fixed rate where datagrams were not counted by themselves, unless it was too much', () => {
    const settings = { ...findings().settings, bitsPerSecond: 5e6, delivery: 'bestEffort' as const };
    const lossy = { loss: shareOf(200, 20_000) };
    const at = (more: object) =>
      findings({ datagrams: [], settings, rows: [row(1_200, { load: load(5, more) })] });
    expect(recommend(at(lossy)).protection).toBe('auto');
    expect(recommend(at({ ...lossy, heldBack: 0.3 })).protection).toBe(null);
  });

  test('for a queue that fills bounds its delay', () => {
    const rows = [row(1_200, { load: load(18, { loaded: trips(250) }) })];
    const { queueDelayMaxMs, reasons } = recommend(findings({ rows }));
    expect(queueDelayMaxMs).toBe(10);
    expect(reasons.join(' ')).toContain('200 ms longer than the 50.0 ms');
  });

  test('is the controller with clearly more goodput, where several were measured', () => {
    const rows = [row(1_200, { load: load(4) }), row(1_200, { congestion: 'bbr', load: load(18) })];
    const { congestion, reasons } = recommend(findings({ rows }));
    expect(congestion).toBe('bbr');
    expect(reasons.join(' ')).toContain('18.0 Mbit/s where cubic has 4.00');
  });

  test('compares controllers at the sizes that each was measured with, and sizes with the controllers of all', () => {
    const rows = [
      row(1_200, { load: load(10) }),
      row(1_200, { congestion: 'bbr', load: load(14) }),
      row(32_768, { load: load(140) }),
    ];
    const { congestion, mtu, reasons } = recommend(findings({ rows }));
    expect([congestion, mtu]).toEqual(['bbr', 32_768]);
    expect(reasons.join(' ')).toContain('14.0 Mbit/s where cubic has 10.0');
    const slow = [row(1_200, { load: load(4) }), row(1_200, { congestion: 'bbr', load: load(18) })];
    expect(recommend(findings({ rows: [...slow, row(1_400, { load: load(4.1) })] })).mtu).toBe(1_400);
  });

  test.each([
    ['mobileChat', { idle: trips(60, 0.8) }],
    ['mobileChat', { idle: trips(300) }],
    ['mobileChat', { datagrams: [loss(0.05)] }],
    ['fileTransfer', { idle: trips(130) }],
    ['gaming', { idle: trips(20) }],
    ['iot', { rows: [row(512)] }],
    ['iot', { rows: [row(1_200, { load: load(0.1) })] }],
  ] as const)('has the profile %s for such a link', (profile, found) => {
    expect(recommend(findings(found)).profile).toBe(profile);
  });

  test('warns of two ways that differ, of datagrams out of order or doubled, and of an end that is too slow', () => {
    const idle = { ...trips(100), upMs: around(80), downMs: around(20) };
    const datagrams = [loss(0, { reordered: shareOf(500, 100_000), duplicated: 12 })];
    const rows = [
      row(1_200, { load: load(90, { cpuReceiver: 0.99 }) }),
      row(1_200, { direction: 'down', load: load(10) }),
    ];
    const settings = { ...findings().settings, direction: 'both' as const };
    const { warnings } = recommend(findings({ datagrams, idle, rows, settings }));
    expect(warnings).toEqual([
      expect.stringContaining('0.50 % of the datagrams come out of order'),
      expect.stringContaining('12 datagrams came twice'),
      'The two ways differ: 80.0 ms up, 20.0 ms down.',
      'The two ways differ: 90.0 Mbit/s up, 10.0 Mbit/s down.',
      expect.stringContaining('One end used its whole core'),
    ]);
  });

  test('is nothing where nothing was measured', () => {
    const { reasons, warnings, ...choice } = recommend(findings({ idle: null, datagrams: [], rows: [] }));
    expect(choice).toEqual({
      mtu: null,
      congestion: null,
      profile: null,
      protection: null,
      queueDelayMaxMs: null,
    });
    expect([reasons, warnings]).toEqual([[], []]);
  });
});

test('a share has an interval of confidence that is sound where nothing, or all, was counted', () => {
  expect(shareOf(0, 0)).toEqual({ of: 0, count: 0, share: 0, low: 0, high: 1 });
  expect(shareOf(0, 1_000).low).toBe(0);
  expect(shareOf(0, 1_000).high).toBeCloseTo(0.0038, 4);
  expect(shareOf(1_000, 1_000).low).toBeCloseTo(0.9962, 4);
  const { low, high } = shareOf(1_000, 100_000);
  expect([low, high].map((each) => Number(each.toFixed(5)))).toEqual([0.0094, 0.01064]);
});
