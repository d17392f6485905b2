/** Dialogs: they keep the focus within, and Escape closes them, as the browser does it. */
import { type Child, foreign, h } from './dom.ts';

/** Shows what is known about something, with buttons for what can be done with it. */
export function facts(
  title: string,
  entries: readonly [string, string][],
  ...actions: HTMLElement[]
): HTMLDialogElement {
  const list = entries.flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, foreign(value))]);
  return opened(title, [h('dl', {}, ...list)], actions);
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
export function open(dialog: HTMLDialogElement): HTMLDialogElement {
  dialog.addEventListener('close', () => dialog.remove());
  dialog.addEventListener('mousedown', (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
