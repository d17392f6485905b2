import { JspError } from '../base/errors.ts';

/** The error of a wait that `signal` ended, with the signal's reason as cause. */
export function abortError(signal: AbortSignal): JspError {
  return new JspError('ERR_JSP_ABORTED', 'aborted by the caller', { cause: signal.reason });
}
