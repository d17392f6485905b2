/** Before any test: tests of the command line and of the examples run what is in dist/. */

import { setUp } from './set-up.js';

export default setUp;
