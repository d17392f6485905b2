/** Command lines on pages: those of `jsp`, and what its commands take. */

import { Command, Option } from 'commander';
import { COMMANDS } from '../../src/cli/program.ts';
import { blocksOf, inlineOf, kindOf, type Snippet } from './snippets.ts';

/** A call of `jsp`. */
export interface CommandLine extends Snippet {
  /** What follows `jsp`. */
  readonly words: readonly string[];
  /** It stands within a text, which may leave out what an option or a command has to be given. */
  readonly isMention: boolean;
}

export async function jspCommand(): Promise<Command> {
  const jsp = new Command('jsp').helpOption('-h, --help');
  for (const load of Object.values(COMMANDS)) (await load())(jsp);
  return jsp;
}

/** The calls on a page, in blocks and within lines. */
export function commandLinesOf(page: Snippet): CommandLine[] {
  const typed = blocksOf(page)
    .filter((block) => kindOf(block) === 'shell')
    .flatMap(({ path, line, text }) =>
      text.split('\n').map((each, i) => ({ path, line: line + i, text: each, isMention: false })),
    );
  const mentioned = inlineOf(page).map((snippet) => ({ ...snippet, isMention: true }));
  return [...typed, ...mentioned].flatMap((snippet) => {
    // Columns of a block are apart by several spaces; what is in the last one explains.
    const columns = snippet.isMention ? [snippet.text] : snippet.text.split(/ {3,}| +# /);
    return columns.flatMap((column) => {
      const words = wordsOf(column);
      const at = words.findIndex((word, i) => word === 'jsp' && words.slice(0, i).every(isBefore));
      return at < 0 ? [] : [{ ...snippet, text: column, words: words.slice(at + 1) }];
    });
  });
}

/** What of a call is not as the command has it; null: nothing. */
export function faultOf({ words, isMention }: CommandLine, jsp: Command): string | null {
  let command = jsp;
  let args = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === '--') {
      args += words.length - i - 1;
      break;
    }
    if (/^--?[a-z]/.test(word)) {
      const option = optionOf(command, word);
      if (option === undefined) return `${pathOf(command)} has no ${word}`;
      const value = words[i + 1];
      if (option.required && value === undefined && !isMention) return `${word} needs a value`;
      // As commander: one that needs a value takes what comes, also another option.
      const isValue = option.required || (option.optional && !/^-/.test(value ?? '-'));
      if (!isValue || value === undefined) continue;
      i++;
      const fault = valueFault(option, value);
      if (fault !== null) return `${word} ${value}: ${fault}`;
      continue;
    }
    const inner: Command | undefined = command.commands.find((each) => each.name() === word);
    if (args === 0 && inner !== undefined) command = inner;
    else if (command.commands.length > 0) return `${pathOf(command)} has no command ${word}`;
    else args++;
  }
  const taken = command.registeredArguments;
  if (args > taken.length && !taken.at(-1)?.variadic)
    return `${pathOf(command)} takes ${taken.length} arguments`;
  if (!isMention && args < taken.filter(({ required }) => required).length)
    return `${pathOf(command)} needs more arguments`;
  return null;
}

/** All options, of all commands. */
export function optionsBelow(command: Command): string[] {
  return [
    ...command.options.flatMap(({ long, short }) => [long, short].flatMap((name) => name ?? [])),
    ...command.commands.flatMap((inner) => optionsBelow(inner)),
  ];
}

function optionOf(command: Command, word: string): Option | undefined {
  const [name] = word.split('=');
  if (['--help', '--version'].includes(name)) return new Option(name);
  return command.options.find(({ long, short }) => long === name || short === name);
}

/** Why an option does not take a value, as commander would tell. A value in capitals stands for one. */
function valueFault({ parseArg, argChoices, defaultValue }: Option, value: string): string | null {
  if (/^[A-Z][A-Z:,]*$|…/.test(value)) return null;
  if (argChoices !== undefined && !argChoices.includes(value)) return `is none of ${argChoices.join(', ')}`;
  try {
    parseArg?.(value, defaultValue as never);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

/** What may stand before `jsp`. */
function isBefore(word: string): boolean {
  return word === '$' || word === 'npx' || /^[A-Z_]+=/.test(word);
}

/** As a shell takes a line apart, up to where another command begins or the output goes elsewhere. */
function wordsOf(text: string): string[] {
  const words = [...text.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) =>
    word.replace(/^'(.*)'$|^"(.*)"$/, '$1$2'),
  );
  const end = words.findIndex((word) => /^(>|>>|<|\||&|&&|;)$/.test(word));
  return end < 0 ? words : words.slice(0, end);
}
