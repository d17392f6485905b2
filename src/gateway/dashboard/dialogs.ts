/** Dialogs: they keep the focus within, and Escape closes them, as the browser does it. */
import { type Child, foreign, h, show } from './dom.ts';

/** What is known about something, as long as it is shown. */
export interface Facts {
  readonly dialog: HTMLDialogElement;
  /** Shows what is known now. */
  update(entries: readonly Entry[]): void;
}

export type Entry = readonly [name: string, value: string];

/** Shows what is known about something, with buttons for what can be done with it. */
export function facts(title: string, entries: readonly Entry[], ...actions: HTMLElement[]): Facts {
  const list = h('dl');
  const update = (now: readonly Entry[]): void => {
    while (list.children.length > 2 * now.length) list.lastElementChild?.remove();
    now.forEach(([name, value], i) => {
      if (list.children.length <= 2 * i) list.append(h('dt'), h('dd'));
      show(list.children[2 * i], name);
      show(list.children[2 * i + 1], foreign(value));
    });
  };
  update(entries);
  return { dialog: opened(title, [list], actions), update };
}

/** Shows anything, with a button that closes it. */
export function opened(
  title: string,
  content: readonly Child[],
  actions: readonly HTMLElement[] = [],
): HTMLDialogElement {
  const close = h(
    'button',
    { type: 'button', class: 'main', autofocus: true, on: { click: () => dialog.close() } },
    'Close',
  );
  const dialog = h(
    'dialog',
    { 'aria-label': title },
    h('h2', {}, title),
    h('div', { class: 'content' }, ...content),
    h('div', { class: 'actions' }, ...actions, h('span', { class: 'spring' }), close),
  );
  return open(dialog);
}

/** Asks before something that cannot be taken back. */
export function confirm(title: string, what: string, action: string): Promise<boolean> {
  return new Promise((resolve) => {
    const answer = (yes: boolean) => (): void => {
      resolve(yes);
      dialog.close();
    };
    const cancel = h('button', { type: 'button', autofocus: true, on: { click: answer(false) } }, 'Cancel');
    const yes = h('button', { type: 'button', class: 'danger', on: { click: answer(true) } }, action);
    const dialog = h(
      'dialog',
      { 'aria-label': title, role: 'alertdialog' },
      h('h2', {}, title),
      h('p', {}, what),
      h('div', { class: 'actions' }, h('span', { class: 'spring' }), cancel, yes),
    );
    dialog.addEventListener('close', () => resolve(false));
    open(dialog);
  });
}

/** Shows a dialog, which leaves the page when it is closed; a click beside it closes it. */
function open(dialog: HTMLDialogElement): HTMLDialogElement {
  dialog.addEventListener('close', () => dialog.remove());
  dialog.addEventListener('mousedown', (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
