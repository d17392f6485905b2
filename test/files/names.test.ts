import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkPath, DEPTH_MAX, foldedPath, NAME_BYTES_MAX } from '../../src/files/names.ts';

function faultOf(...names: (string | Uint8Array)[]): string | undefined {
  return checkPath(names.map((name) => (typeof name === 'string' ? Buffer.from(name) : name))).fault;
}

describe('names of a peer', () => {
  test.each([
    [['a']],
    [['notes.txt']],
    [['photos', '2024', 'Été à la plage.jpg']],
    [['.bashrc']],
    [['日本語', 'ファイル.txt']],
    [['console.log']],
    [['common']],
    [['com10']],
    [['-rf']],
    [['~']],
    [[' leading']],
    [['a'.repeat(255)]],
    [['..hidden']],
    [['...a']],
    [['👩‍💻.png']],
  ])('%j are taken as they are [FIL-5]', (names) => {
    expect(checkPath(names.map((name) => Buffer.from(name)))).toEqual({ names });
  });

  test.each([
    ['the folder above', ['..'], /out of the folder/],
    ['the folder above on the way', ['a', '..', '..', 'etc'], /out of the folder/],
    ['the folder itself', ['.'], /out of the folder/],
    ['nothing', [''], /empty/],
    ['nothing on the way', ['a', '', 'b'], /empty/],
    ['no path', [], /no name/],
    ['an absolute path', ['/etc/passwd'], /slash/],
    ['a path as a name', ['a/b'], /slash/],
    ['a path of Windows', ['C:\\Windows\\x'], /slash/],
    ['a drive', ['C:'], /not every system/],
    ['a server', ['\\\\server\\share'], /slash/],
    ['a stream of a file', ['file.txt:evil'], /not every system/],
    ['a device', ['CON'], /device/],
    ['a device with an extension', ['aux.txt'], /device/],
    ['a device with two', ['nul.tar.gz'], /device/],
    ['a device with a blank', ['con .txt'], /device/],
    ['a device with a superscript', ['COM\u00b9'], /device/],
    ['a device in wide letters', ['\uff23\uff2f\uff2e'], /device/],
    ['a printer', ['LPT9'], /device/],
    ['the console', ['CONOUT$'], /device/],
    ['a dot at the end', ['a.'], /dot or a blank/],
    ['a blank at the end', ['a '], /dot or a blank/],
    ['dots only', ['...'], /dot or a blank/],
    ['a NUL', ['a\0b'], /not to be seen/],
    ['a line', ['a\nb'], /not to be seen/],
    ['a tab', ['a\tb'], /not to be seen/],
    ['an escape', ['\x1b[2J'], /not to be seen/],
    ['DEL', ['\x7f'], /not to be seen/],
    ['C1', ['\x9b'], /not to be seen/],
    ['text that turns round', ['gpj.\u202eexe'], /not to be seen/],
    ['an isolate', ['\u2066a'], /not to be seen/],
    ['nothing to be seen', ['\u200b'], /not to be seen/],
    ['a separator of lines', ['a\u2028b'], /not to be seen/],
    ['a byte order mark', ['\ufeffa'], /not to be seen/],
    ['a wildcard', ['*'], /not every system/],
    ['too long a name', ['ä'.repeat(128)], /longer than 255/],
    ['too deep a path', Array(DEPTH_MAX + 1).fill('a'), /deep/],
    ['too long a path', Array(20).fill('a'.repeat(200)), /path is longer/],
    ['our state', ['.jsp', 'identity'], /folder of this program/],
    ['our parts', ['.jsp-parts', 'x'], /folder of this program/],
    ['our parts in capitals', ['.JSP-Parts', 'x'], /folder of this program/],
    ['our parts with a joiner', ['.jsp\u200d-parts'], /folder of this program/],
    ['our state deep down', ['a', '.jsp'], /folder of this program/],
  ])('%s is refused [FIL-5]', (_, names, says) => {
    expect(faultOf(...names)).toMatch(says);
  });

  test.each([
    ['cut short', [0xc3]],
    ['overlong', [0xc0, 0xae, 0xc0, 0xae]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['Latin-1', [0x61, 0xe4]],
  ])('bytes that are no UTF-8 are refused: %s', (_, bytes) => {
    expect(faultOf(Uint8Array.from(bytes))).toBe('it is not UTF-8');
  });

  test.runIf(process.platform !== 'win32')(
    'what only other systems reserve is taken where that is asked for',
    () => {
      for (const name of ['12:30.png', 'CON', 'a.', 'what?']) {
        expect(checkPath([Buffer.from(name)], 'system')).toEqual({ names: [name] });
      }
      for (const name of ['..', 'a/b', 'a\\b', 'a\0', '.jsp', '\u202ea']) {
        expect(checkPath([Buffer.from(name)], 'system').fault).toBeDefined();
      }
    },
  );

  test('whatever bytes come, what is taken is one path below the folder', () => {
    const name = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.string({ unit: 'binary', maxLength: 20 }).map((text) => Buffer.from(text)),
      fc.constantFrom('..', '.', '/', '\\', 'CON', '.jsp', 'a').map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(fc.array(name, { maxLength: 5 }), (path) => {
        const { names } = checkPath(path);
        if (names === undefined) return;
        expect(names.length).toBe(path.length);
        for (const part of names) {
          expect(part).not.toMatch(/^\.{0,2}$|[/\\:]|[^\P{Cc}]/u);
          expect(Buffer.byteLength(part)).toBeLessThanOrEqual(NAME_BYTES_MAX);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test('those that some file systems take for one fold to the same [FIL-6]', () => {
    expect(foldedPath(['A', 'Ä'])).toBe(foldedPath(['a', 'a\u0308']));
    expect(foldedPath(['straße'])).toBe(foldedPath(['STRASSE']));
    expect(foldedPath(['ﬁle'])).toBe(foldedPath(['FILE']));
    expect(foldedPath(['a', 'b'])).not.toBe(foldedPath(['a', 'c']));
  });
});
