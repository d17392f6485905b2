/**
 * Watching connections: what a process tells of them, where it does, and how that looks on a terminal. Knows nothing of sockets of the
 * transport, nor of the terminal that it is drawn on.
 */

export { LocalEndpoint, ProcessReader, tellingProcesses } from './local-endpoint.ts';
export {
  type ConnectionReport,
  LiveConnections,
  type ProcessReport,
  reportOf,
  type Traffic,
  type Watchable,
} from './report.ts';
export { lineOf, PLAIN_STYLE, type ScreenSize, type ScreenStyle, screenOf } from './screen.ts';
export { type MonitorOptions, MonitorView, type Point, type Watched } from './view.ts';
