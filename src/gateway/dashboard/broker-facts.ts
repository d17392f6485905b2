/** What is known of the broker itself: how it is, where it is reached, what runs it, and what its start has found. */
import type { RecoveryFigures, Snapshot, StatusReport } from '../../broker/operations/snapshot.ts';
import { type Entry, facts } from './dialogs.ts';
import { bytes, duration, whole } from './format.ts';

export function showBroker(status: StatusReport | null, snapshot: Snapshot | null): void {
  if (status === null) {
    facts('The broker', [['State', 'not known: nothing was heard of it yet']]);
    return;
  }
  const { authenticates, hostname, limits, node, pid, reasons, startedAt, url, version } = status;
  const now = snapshot ?? status;
  facts('The broker', [
    ['State', [STATES[now.state] ?? now.state, ...(now.state === status.state ? reasons : [])].join(' ')],
    ['Clients reach it by', url],
    ['Runs', `for ${duration(now.at - startedAt)}, since ${new Date(startedAt).toLocaleString()}`],
    ['On', `${hostname}, process ${pid}, Node ${node}`],
    ['Version', version],
    ['Asks who clients are', authenticates ? 'yes' : 'no: whoever has its URL may publish and subscribe'],
    ...recoveryFacts(status.recovery),
    ...Object.entries(limits).map(([name, value]): Entry => [name, whole(value)]),
  ]);
}

/** What the last start has found. */
export function recoveryFacts(recovery: RecoveryFigures | null): Entry[] {
  if (recovery === null) return [['Store', 'in memory: what it has is gone when the broker ends']];
  const { bytesVerified, directory, durationMs, findings, isNew, logs, recordsDropped, unused, wasClosed } =
    recovery;
  const before = isNew
    ? 'nothing: it was new'
    : wasClosed
      ? 'the broker had closed it'
      : 'the broker had ended without closing it';
  const cut =
    recordsDropped === 0 ? 'nothing' : `${whole(recordsDropped)} records that had not been acknowledged`;
  return [
    ['Store', directory],
    ['Found at the start', before],
    ['Read', `${bytes(bytesVerified)} in ${whole(durationMs)} ms, with checksums`],
    ['Cut off', cut],
    ...findings.map((finding): Entry => ['Finding', finding]),
    ...logs
      .filter(({ epochIsNew }) => epochIsNew && !isNew)
      .map(
        ({ epoch, name }): Entry => [
          'New epoch',
          `log “${name}” is in epoch ${epoch}: positions from before do not count`,
        ],
      ),
    ...(unused.length > 0 ? [['Not used', unused.join(', ')] as Entry] : []),
  ];
}

const STATES: Readonly<Record<string, string>> = {
  ready: 'Ready.',
  draining: 'Closing: clients are told to go elsewhere.',
  readOnly: 'Read-only: QoS 1 messages are refused.',
};
