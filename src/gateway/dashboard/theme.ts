/** Light, dark, or as the system has it; what was chosen is kept. */
import { show } from './dom.ts';

export class Theme {
  private readonly button: HTMLElement;
  private readonly onChange: () => void;
  private choice: Choice = 'auto';

  constructor(button: HTMLElement, onChange: () => void) {
    this.button = button;
    this.onChange = onChange;
    button.addEventListener('click', () => this.next());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => onChange());
    const kept = localStorage.getItem(KEY);
    this.apply(CHOICES.find((choice) => choice === kept) ?? 'auto');
  }

  next(): void {
    this.apply(CHOICES[(CHOICES.indexOf(this.choice) + 1) % CHOICES.length]);
    localStorage.setItem(KEY, this.choice);
    this.onChange();
  }

  private apply(choice: Choice): void {
    this.choice = choice;
    document.documentElement.dataset.theme = choice;
    show(this.button, SIGNS[choice]);
    this.button.title = `Colours: ${NAMES[choice]}`;
  }
}

type Choice = 'auto' | 'light' | 'dark';
const CHOICES: readonly Choice[] = ['auto', 'light', 'dark'];
const SIGNS = { auto: '◐', light: '☀', dark: '☾' };
const NAMES = { auto: 'as the system has them', light: 'light', dark: 'dark' };
const KEY = 'jsp-theme';
