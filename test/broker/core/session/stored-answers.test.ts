import { expect, test } from 'vitest';
import { StoredAnswers } from '../../../../src/broker/core/session/stored-answers.ts';
import { AppendFault, type LogPort, type StorePort } from '../../../../src/broker/core/store-port.ts';

/** A store that says of how much it was given and how much is safe; the rest of it is not asked for. */
function slowStore() {
  const state = { written: 0, synced: 0 };
  const logs = [
    { head: 1, synced: 1 },
    { head: 1, synced: 1 },
  ];
  const store = { state, logs } as unknown as StorePort;
  const answers = new StoredAnswers(store);
  const sent: string[] = [];
  const ask = (name: string) =>
    answers.whenSafe(
      () => sent.push(name),
      () => sent.push(`no ${name}`),
    );
  return { state, logs, answers, sent, ask, log: (place: number) => logs[place] as LogPort };
}

const FAILED = { fault: AppendFault.FAILED, message: '', cause: null };
const FULL = { fault: AppendFault.FULL, message: '', cause: null };

test('an answer goes out at once where everything is safe, else when what was written before it is, in their order [BRK-55]', () => {
  const { state, logs, answers, sent, ask } = slowStore();
  ask('a');
  state.written = 2;
  ask('b');
  logs[1].head = 9;
  ask('c');
  state.written = 3;
  ask('d');
  expect(sent).toEqual(['a']);
  state.synced = 1;
  answers.stateStored();
  expect(sent).toEqual(['a']);
  state.synced = 3;
  answers.stateStored();
  expect(sent).toEqual(['a', 'b']);
  logs[1].synced = 8;
  answers.stored();
  expect(sent).toEqual(['a', 'b']);
  logs[1].synced = 9;
  answers.stored();
  expect(sent).toEqual(['a', 'b', 'c', 'd']);
});

test('an answer does not wait for what a log has lost, and is refused where the state is not written any more [BRK-55]', () => {
  const { state, logs, answers, sent, ask, log } = slowStore();
  logs[0].head = 5;
  ask('a');
  state.written = 1;
  ask('b');
  logs[0].head = 1;
  answers.storeFailed(log(0), FULL);
  expect(sent).toEqual(['a']);
  answers.storeFailed(null, FULL);
  expect(sent).toEqual(['a', 'no b']);
  expect(answers.keepsNothing).toBe(false);
  answers.storeFailed(null, FAILED);
  ask('c');
  answers.whenLogsAreSafe(() => sent.push('d'));
  expect(sent).toEqual(['a', 'no b', 'no c', 'd']);
  expect(answers.keepsNothing).toBe(true);
});
