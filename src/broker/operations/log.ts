/**
 * What a process of a broker has to say, as lines: for people as they read a terminal, or an object a line for what collects logs, by pino. Text of others is
 * made harmless in both. Writing never waits for the reader: where he does not read, lines are lost, and not the broker's time. [CFG-8]
 */

import { closeSync, openSync } from 'node:fs';
import { JspError, printable } from '../../base/errors.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: 'text' | 'json';
  /** Appended to; undefined: stderr. */
  readonly file: string | undefined;
}

/** What a line is about, for machines: a name that stays the same, and figures. */
export interface LogFields {
  readonly event: string;
  readonly [name: string]: unknown;
}

export interface Log {
  /** Lines that are less important are not written. */
  level: LogLevel;
  /** @param text - a sentence for people, which does not end with a full stop */
  write(level: LogLevel, text: string, fields: LogFields): void;
  /** Writes to a new file of the same name, after somebody has moved the old one away. Throws what the system does: then it goes on with the old one. */
  reopen(): void;
  /** Everything is written when it returns. */
  flush(): void;
}

/** Where lines of text go that are for people. */
export interface TextLines {
  note(text: string): void;
  warn(text: string): void;
}

/**
 * @param lines - where text goes without a file
 * @throws JspError ERR_JSP_CONFIG when the file cannot be written
 */
export async function openLog(options: LogOptions, lines: TextLines): Promise<Log> {
  const { level, format, file } = options;
  if (file === undefined && format === 'text') return new TextLog(level, lines);
  const { default: pino } = await import('pino');
  if (file !== undefined) assertWritable(file);
  const destination = pino.destination({
    dest: file ?? STDERR,
    append: true,
    mkdir: false,
    sync: false,
    maxLength: UNWRITTEN_BYTES_MAX,
  });
  destination.on('error', () => {}); // the disk is full, or stderr closed: nobody is left to be told
  const logger = pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  const isText = format === 'text';
  return {
    get level() {
      return logger.level as LogLevel;
    },
    set level(next) {
      logger.level = next;
    },
    write(at, text, fields) {
      if (!isText) logger[at](fields, printable(text));
      else if (logger.isLevelEnabled(at)) destination.write(`${stamped(at, text)}\n`);
    },
    reopen() {
      if (file === undefined) return;
      assertWritable(file);
      destination.reopen();
    },
    flush: () => flush(destination),
  };
}

/** For people on a terminal, or who read what a supervisor collects. */
class TextLog implements Log {
  level: LogLevel;
  private readonly lines: TextLines;

  constructor(level: LogLevel, lines: TextLines) {
    this.level = level;
    this.lines = lines;
  }

  write(level: LogLevel, text: string): void {
    if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(this.level)) return;
    if (level === 'warn' || level === 'error') this.lines.warn(text);
    else this.lines.note(text);
  }

  reopen(): void {}

  flush(): void {}
}

/** A line of a text file, which says when. */
function stamped(level: LogLevel, text: string): string {
  const mark = level === 'warn' || level === 'error' ? `${level}: ` : '';
  return `${new Date().toISOString()} ${mark}${text.split('\n').map(printable).join('\n')}`;
}

/** What cannot be opened is told now, and not by a file that stays empty. */
function assertWritable(file: string): void {
  try {
    closeSync(openSync(file, 'a'));
  } catch (error) {
    throw new JspError('ERR_JSP_CONFIG', `[logging] file: cannot be written: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function flush(destination: { flushSync(): void }): void {
  try {
    destination.flushSync();
  } catch {
    // it was never opened, or is gone
  }
}

const STDERR = 2;
const UNWRITTEN_BYTES_MAX = 1024 * 1024;
