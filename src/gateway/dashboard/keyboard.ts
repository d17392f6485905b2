/** The page by keys alone: those of the views, and a list of all of them. */
import { opened } from './dialogs.ts';
import { h, isTyping } from './dom.ts';

/** A key of the whole page. */
export interface Key {
  readonly key: string;
  readonly what: string;
  readonly act: () => void;
}

/** Hands keys on: to the page's own, else to `other`. Nothing is taken from a field, a dialog or the browser. */
export function listenForKeys(keys: readonly Key[], other: (key: string) => boolean): void {
  const byKey = new Map(keys.map((each) => [each.key, each.act]));
  document.addEventListener('keydown', (event) => {
    const { altKey, ctrlKey, defaultPrevented, key, metaKey, target } = event;
    if (defaultPrevented || altKey || ctrlKey || metaKey || document.querySelector('dialog[open]') !== null)
      return;
    if (isTyping(target)) {
      if (key === 'Escape') (target as HTMLElement).blur();
      return;
    }
    const act = byKey.get(key);
    if (act !== undefined) act();
    else if (!other(key)) return;
    event.preventDefault();
  });
}

export function showKeys(keys: readonly Key[]): void {
  const rows = [...keys.map(({ key, what }): [string, string] => [key, what]), ...OTHERS];
  const list = rows.flatMap(([key, what]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, what)]);
  opened('Keys', [h('dl', { class: 'keys' }, ...list)]);
}

const OTHERS: readonly [string, string][] = [
  ['↑ ↓', 'walk through a table; with Page, Home and End as well'],
  ['Enter', 'what there is to know about a row'],
  ['k', 'disconnect the client that the table is on'],
  ['p', 'pause the live messages, and go on'],
  ['Ctrl Enter', 'publish what is in the form'],
  ['Esc', 'leave a field, close a dialog'],
];
