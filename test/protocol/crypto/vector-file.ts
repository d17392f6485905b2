import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A case of a vector file: hex and numbers in, hex out. */
export interface VectorCase<Input, Output> {
  name: string;
  input: Input;
  output: Output;
}

interface VectorFile<Input, Output> {
  about: string;
  cases: VectorCase<Input, Output>[];
}

/**
 * The cases of a file in spec/vectors/. With `JSP_WRITE_VECTORS=1` the slow twin's outputs are written to the file first, from
 * its inputs alone.
 */
export function vectorCases<Input, Output>(
  fileName: string,
  slowTwin: (input: Input) => Output,
): VectorCase<Input, Output>[] {
  const path = fileURLToPath(new URL(`../../../spec/vectors/${fileName}`, import.meta.url));
  const file = JSON.parse(readFileSync(path, 'utf8')) as VectorFile<Input, Output>;
  if (process.env.JSP_WRITE_VECTORS === '1') {
    for (const each of file.cases) each.output = slowTwin(each.input);
    writeFileSync(path, `${JSON.stringify(file, null, 2)}\n`);
  }
  return file.cases;
}
