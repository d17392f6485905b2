/**
 * `npm run docs`: API pages from the declarations in dist/, one for each entry of the package, into docs/api/. Runs before the package is
 * packed. A link that leads nowhere fails it.
 */
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import setUp from './set-up.js';

await setUp();
// TypeDoc needs the compiler as a library, which TypeScript 7 is not any more. The oldest version that our types must please is one.
const alias = `export const resolve = (name, context, next) =>
  next(name === 'typescript' ? 'typescript-5.4' : name, context);`;
register(`data:text/javascript,${encodeURIComponent(alias)}`);
const { Application } = await import('typedoc');

const app = await Application.bootstrapWithPlugins({
  options: fileURLToPath(new URL('../docs/typedoc.json', import.meta.url)),
});
const project = await app.convert();
if (project === undefined || app.logger.hasErrors()) process.exit(1);
app.validate(project);
await app.generateOutputs(project);
if (app.logger.hasErrors() || app.logger.hasWarnings()) process.exit(1);
