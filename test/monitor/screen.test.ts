import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { lineOf, MonitorView, PLAIN_STYLE, type ScreenStyle, screenOf } from '../../src/monitor/index.ts';
import { connectionWith, reportWith } from './fake-process.ts';

/** A view of a process over ten seconds, in which one connection sends more and more. */
function busyView(connections = 1): MonitorView {
  const view = new MonitorView({ title: 'process 4711 (jsp broker)', intervalSeconds: 1 });
  let bytesSent = 0;
  for (let i = 0; i <= 10; i++) {
    bytesSent += i * 125_000;
    const others = Array.from({ length: connections - 1 }, (_, k) =>
      connectionWith(
        k + 2,
        { bytesReceived: 1_000 * i, rttMs: 3 + k },
        { role: 'server', remoteHost: '2001:db8::1' },
      ),
    );
    const first = connectionWith(1, {
      ageMs: 90_000 + 1_000 * i,
      bytesSent,
      bytesReceived: 12_500 * i,
      rttMs: 20 + i,
      rttMinMs: 19.6,
      packetsSent: 100 * i,
      packetsLost: i > 8 ? 5 * (i - 8) : 0,
      packetsRecoveredByPeer: i > 8 ? 3 * (i - 8) : 0,
      repairsSent: 20 * i,
      retransmittedBytes: 7_340,
      congestionState: 'congestion-avoidance',
      congestionWindowBytes: 120_000,
      bytesInFlight: 96_400,
      pacingRate: 1_550_000,
      mtu: 1_452,
      streamsOpen: 1,
      limitedByMs: { idle: 0, application: 100 * i, window: 850 * i, pacing: 50 * i, 'flow-control': 0 },
      queue: {
        system: { messages: 0, bytes: 0, streams: 0, oldestMs: 0 },
        media: { messages: 1, bytes: 400 * (i % 3), streams: 1, oldestMs: 5 * (i % 3) },
        chat: { messages: 0, bytes: 0, streams: 0, oldestMs: 0 },
        bulk: { messages: 9, bytes: 260_000, streams: 1, oldestMs: 100 * (i % 5) },
      },
    });
    view.take(reportWith(1_000 * i, [first, ...others]));
  }
  return view;
}

const draw = (view: MonitorView, columns: number, rows: number): string[] =>
  screenOf(view, { columns, rows }, PLAIN_STYLE);

describe('the screen of a monitor', () => {
  test('shows a connection on 80 columns and 24 rows', () => {
    expect(draw(busyView(), 80, 24)).toEqual([
      'jsp monitor · process 4711 (jsp broker) · 1 connection                 every 1 s',
      '',
      'sent                                      ▂▂▃▄▅▅▆▇▇█  10.0 Mbit/s  0–10.0 Mbit/s',
      'received                                  ██████████   100 kbit/s   0–100 kbit/s',
      'round trip                                ▄▄▄▄▅▅▅▅▅▅      30.0 ms      0–50.0 ms',
      'loss                                      ▁▁▁▁▁▁▁▁██        5.0 %        0–5.0 %',
      'FEC sent                                  ██████████         20/s         0–20/s',
      '  recovered                               ▁▁▁▁▁▁▁▁▅▅          3/s          0–5/s',
      'queue system                              ▁▁▁▁▁▁▁▁▁▁          0 B          0–1 B',
      '  media                                   ▄▇▁▄▇▁▄▇▁▄        400 B      0–1.00 kB',
      '  chat                                    ▁▁▁▁▁▁▁▁▁▁          0 B          0–1 B',
      '  bulk                                    ▅▅▅▅▅▅▅▅▅▅       260 kB       0–500 kB',
      '  oldest                                  ▂▄▅▇▁▂▄▅▇▁       5.0 ms       0–500 ms',
      '',
      '#1 to 192.0.2.7:4577, open for 100 s, 1 stream, 1452 B datagrams',
      'limited by window 85 %, application 10 %, pacing 5 %',
      'window 120 kB (congestion-avoidance), in flight 96.4 kB, paced at 12.4 Mbit/s',
      'since it opened: lost 10 of 1000 packets, sent again 7.34 kB',
      '  probe timeouts 0, shortest round trip 19.6 ms',
      '',
      '',
      '',
      '',
      'q quit  p pause  + - interval  ↑ ↓ 1-9 connection  ? help',
    ]);
  });

  test('lists connections where there are several, around the one that is looked at', () => {
    const view = busyView(40);
    view.press('\x1b[B');
    const lines = draw(view, 80, 30);
    expect(lines.slice(0, 6)).toEqual([
      'jsp monitor · process 4711 (jsp broker) · 40 connections               every 1 s',
      '     32 more                                 sent     received       rtt    loss',
      '   1 #1 to 192.0.2.7:4577             10.0 Mbit/s   100 kbit/s   30.0 ms   5.0 %',
      '>  2 #2 from [2001:db8::1]:4577           0 bit/s  8.00 kbit/s    3.0 ms   0.0 %',
      '   3 #3 from [2001:db8::1]:4577           0 bit/s  8.00 kbit/s    4.0 ms   0.0 %',
      '   4 #4 from [2001:db8::1]:4577           0 bit/s  8.00 kbit/s    5.0 ms   0.0 %',
    ]);
  });

  test('is of use on tiny terminals, too', () => {
    expect(draw(busyView(), 40, 6)).toEqual([
      'jsp monitor · process 4711 (j… every 1 s',
      '',
      'sent           10.0 Mbit/s',
      'received        100 kbit/s',
      'round trip         30.0 ms',
      'q quit  p pause  + - interval  ↑ ↓ 1-9 …',
    ]);
    expect(draw(busyView(), 20, 3)).toEqual(['jsp monitor · proce…', '', 'q quit  ? help']);
    expect(draw(busyView(), 1, 1)).toEqual(['j']);
    expect(draw(busyView(), 0, 0)).toEqual(['']);
  });

  test('has no line longer than the terminal is wide, nor more lines than rows, whatever its size', () => {
    const views = [
      busyView(),
      busyView(30),
      new MonitorView({ title: 'x'.repeat(300), intervalSeconds: 0.1 }),
    ];
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 100 }),
        fc.constantFrom(...views),
        fc.boolean(),
        (columns, rows, view, isHelp) => {
          view.isHelp = isHelp;
          const lines = draw(view, columns, rows);
          expect(lines).toHaveLength(rows);
          for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
        },
      ),
    );
  });

  test('explains the keys, says when it is paused, and that nothing is open', () => {
    const view = busyView();
    view.press('?');
    expect(draw(view, 80, 24).slice(0, 4)).toEqual([
      'jsp monitor · process 4711 (jsp broker) · 1 connection                 every 1 s',
      '',
      'q, Ctrl-C    quit',
      'p, space     pause: nothing new is asked for',
    ]);
    view.press('\x1b');
    view.press('p');
    expect(draw(view, 80, 24)[0]).toMatch(/ PAUSED$/);
    expect(draw(view, 80, 24)[2]).toMatch(/^sent /);
    view.take(reportWith(20_000, []));
    expect(draw(view, 80, 24)[1]).toBe('no connection is open');
  });

  test('is not moved by what a process says of itself', () => {
    const evil = '\x1b[2J\x1b]0;OWNED\x07\nsecond\u202e';
    const view = new MonitorView({ title: evil, intervalSeconds: 1 });
    const connection = (i: number) =>
      connectionWith(
        1,
        { congestionState: evil as 'recovery', limitedByMs: { [evil]: i * 1_000 } as never, packetsSent: i },
        { remoteHost: evil },
      );
    for (let i = 0; i < 3; i++)
      view.take(reportWith(i * 1_000, [connection(i), { ...connection(i), id: 2 }]));
    const [watched] = view.watched.values();
    const all = [...draw(view, 200, 40), lineOf(watched, watched.points[0], 1)].join('');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are looked for
    expect(all).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
    expect(all).toContain('\\x1b[2J');
  });

  test('marks losses, the chosen one and the frame, where the terminal has colours', () => {
    const style: ScreenStyle = {
      bold: (text) => `<b>${text}`,
      dim: (text) => `<d>${text}`,
      red: (text) => `<r>${text}`,
    };
    const lines = screenOf(busyView(3), { columns: 80, rows: 30 }, style);
    const marked = lines.filter((line) => line.startsWith('<')).map((line) => line.slice(0, 9));
    expect(marked).toEqual(['<b>jsp mo', '<b>>  1 #', '<r>loss  ', '<d>q quit']);
  });

  test('is a line where there is no terminal', () => {
    const [watched] = busyView().watched.values();
    expect(lineOf(watched, watched.points[9], 10)).toBe(
      '10.0 s  #1 to 192.0.2.7:4577  sent 10.0 Mbit/s  received 100 kbit/s  rtt 30.0 ms  loss 5.0 %  fec 20/s recovered 3/s  queue 260 kB for 5.0 ms  limited by window',
    );
  });
});
