/**
 * Elements made by hand. What a stranger has named goes in as text and never as markup: there is no way here to make markup of a string, and the
 * page's content policy would run none of it.
 */
import { printable } from '../../base/errors.ts';

export type Child = Node | string | null;

interface Properties {
  readonly class?: string;
  readonly title?: string;
  readonly on?: { readonly [event: string]: (event: Event) => void };
  readonly [attribute: string]: unknown;
}

/** An element with attributes, listeners and what is in it. An attribute that is undefined or false is left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  const { on, ...attributes } = properties;
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? '' : String(value));
  }
  for (const [event, listener] of Object.entries(on ?? {})) element.addEventListener(event, listener);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Shows text, touching the page only where it is another, and without a new node for it. */
export function show(element: Element, text: string): void {
  const { firstChild } = element;
  if (firstChild instanceof Text && firstChild === element.lastChild) {
    if (firstChild.data !== text) firstChild.data = text;
  } else if (element.textContent !== text) element.textContent = text;
}

/** A stranger's text, as it may stand on the page: control and direction characters stand there as escapes. */
export function foreign(text: string): string {
  return printable(text);
}

export function mark(element: Element, name: string, on: boolean): void {
  if (element.classList.contains(name) !== on) element.classList.toggle(name, on);
}

/** An element that stands in the page's HTML. */
export function part<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Whether what is typed goes into a field, so that it is no shortcut. */
export function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest('input, textarea, select') !== null;
}
