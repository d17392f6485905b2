/** The shape of the project's configuration of dependency-cruiser, which is JavaScript as that tool loads it. */
declare module '*.dependency-cruiser.mjs' {
  import type { ICruiseOptions, IForbiddenRuleType } from 'dependency-cruiser';

  export const FLOORS: readonly (readonly string[])[];
  const config: { forbidden: IForbiddenRuleType[]; options: ICruiseOptions };
  export default config;
}
