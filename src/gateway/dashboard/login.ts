/** The login of a broker that asks who somebody is: an API key or a token, kept in this tab and nowhere else. */
import { foreign, h, show } from './dom.ts';
import type { Problem } from './gateway.ts';

/** What became of a login: the broker has taken it, or has taken it for messages alone. */
export type Login = 'operator' | 'messages';

/**
 * Asks for a key or a token until `attempt` takes one.
 *
 * @param problem - why it is asked for
 * @param attempt - what is wrong with a credential, or null when it is right
 */
export function askForCredential(
  problem: Problem,
  attempt: (credential: string) => Promise<Problem | null>,
): Promise<Login> {
  return new Promise((resolve) => {
    const fault = h('p', { class: 'fault', role: 'alert' });
    const field = h('input', {
      type: 'password',
      id: 'credential',
      autocomplete: 'off',
      spellcheck: 'false',
      placeholder: 'jspk_…',
      required: true,
    });
    const enter = h('button', { type: 'submit', class: 'main' }, 'Sign in');
    // Whoever may not see the figures may still see messages.
    const messages = h(
      'button',
      { type: 'button', hidden: true, on: { click: () => end('messages') } },
      'Messages only',
    );
    const end = (login: Login): void => {
      dialog.remove();
      resolve(login);
    };
    const tell = (wrong: Problem): void => {
      show(fault, foreign(sentenceOf(wrong)));
      messages.hidden = wrong.status !== 403;
    };
    const submit = async (event: Event): Promise<void> => {
      event.preventDefault();
      const credential = field.value.trim();
      if (credential === '') return;
      if (!/^[\x21-\x7e]+$/.test(credential)) {
        show(fault, 'That is no key and no token: they have letters, digits and a few marks only.');
        return;
      }
      enter.disabled = true;
      const wrong = await attempt(credential);
      enter.disabled = false;
      if (wrong === null) {
        end('operator');
        return;
      }
      tell(wrong);
      field.select();
    };
    const dialog = h(
      'dialog',
      { class: 'login', 'aria-label': 'Sign in' },
      h(
        'form',
        { on: { submit: (event) => void submit(event) } },
        h('h2', {}, 'Who are you?'),
        h(
          'p',
          {},
          'This broker asks everyone. Its figures need a key or a token with the action ',
          h('code', {}, 'admin'),
          '.',
        ),
        h('label', { for: 'credential' }, 'API key or token'),
        field,
        fault,
        h(
          'p',
          { class: 'soft' },
          'Whoever runs the broker makes a key with ',
          h('code', {}, 'jsp auth key new'),
          '. It stays in this tab until you close it or sign out.',
        ),
        h('div', { class: 'actions' }, messages, h('span', { class: 'spring' }), enter),
      ),
    );
    if (problem.status === 403) tell(problem);
    dialog.addEventListener('cancel', (event) => event.preventDefault());
    document.body.append(dialog);
    dialog.showModal();
    field.focus();
  });
}

function sentenceOf({ message, status }: Problem): string {
  if (status === 403) return 'You may not see the figures of this broker: they need the action admin.';
  if (status === 401) return 'The broker does not take that one. It may be misspelt, expired or revoked.';
  return message;
}
