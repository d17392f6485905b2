/** What stands above all views: how the broker is, whether the page still hears of it, and what to look into. */
import type { Snapshot, StatusReport } from '../../broker/operations/snapshot.ts';
import { noticesOf } from './attention.ts';
import { foreign, h, part, show } from './dom.ts';
import { count, duration } from './format.ts';
import type { LiveState } from './live.ts';
import type { Timeline } from './timeline.ts';

export class StatusLine {
  private readonly state = part('state');
  private readonly stateName = part('state-name');
  private readonly stateMore = part('state-more');
  private readonly pulse = part('pulse');
  private readonly trouble = part('trouble');
  private readonly notices = part('notices');
  private readonly icon = part<HTMLLinkElement>('icon');
  private readonly troubleText = h('span');
  private tone = '';
  private noticesKey = '';
  private heardAt = 0;

  /** @param retry - tries to connect at once */
  constructor(retry: () => void) {
    this.trouble.append(this.troubleText, h('button', { type: 'button', on: { click: retry } }, 'Try now'));
  }

  /** A snapshot came. */
  heard(snapshot: Snapshot, timeline: Timeline, status: StatusReport | null): void {
    this.heardAt = performance.now();
    const { at, startedAt, state } = snapshot;
    show(this.stateName, STATE_NAMES[state] ?? state);
    show(this.stateMore, ` for ${duration(at - startedAt)}`);
    const notices = noticesOf(snapshot, timeline, status);
    const isBad = notices.some(({ level }) => level === 'bad');
    this.paint(state !== 'ready' || isBad ? 'bad' : notices.length > 0 ? 'warn' : 'good');
    const key = notices.map(({ text }) => text).join('\n');
    if (key !== this.noticesKey) {
      this.noticesKey = key;
      this.notices.hidden = notices.length === 0;
      this.notices.replaceChildren(
        ...notices.map(({ level, text, view }) =>
          h('li', { class: level }, h('a', { href: `#${view}` }, foreign(text))),
        ),
      );
    }
    const rate = timeline.last('in');
    document.title = `${isBad || state !== 'ready' ? '! ' : ''}${rate === null ? '' : `${count(rate)}/s `}JetStreamProto`;
  }

  /** A second has passed, whether anything came or not. */
  tick(live: LiveState): void {
    const silentMs = performance.now() - this.heardAt;
    if (live.name === 'open' && silentMs < STALE_MS) {
      this.tell('live', 'live', null);
      return;
    }
    if (live.name === 'waiting') {
      const left = Math.max(0, Math.ceil((live.until - Date.now()) / 1_000));
      this.tell('lost', 'not live', `${live.why} Next try ${left === 0 ? 'now' : `in ${left} s`}.`);
    } else if (live.name === 'refused') {
      this.tell('lost', 'not live', live.problem.message);
    } else if (live.name === 'closed') {
      this.tell('', 'asleep', null);
    } else if (this.heardAt > 0 && silentMs >= STALE_MS) {
      this.tell(
        'lost',
        'not live',
        `The broker has said nothing for ${duration(silentMs)}. Figures are from before.`,
      );
    } else {
      this.tell('', 'connecting', null);
    }
  }

  private tell(pulse: string, text: string, trouble: string | null): void {
    if (this.pulse.className !== `pulse ${pulse}`) this.pulse.className = `pulse ${pulse}`;
    show(this.pulse, text);
    this.trouble.hidden = trouble === null;
    document.documentElement.classList.toggle('stale', trouble !== null);
    if (trouble === null) return;
    show(this.troubleText, foreign(trouble));
    if (this.heardAt > 0) document.title = '? JetStreamProto';
    this.paint('lost');
    show(this.stateName, this.heardAt > 0 ? 'Not heard of' : 'Not reached');
    show(this.stateMore, '');
  }

  /** The dot before the state, and the one on the tab. */
  private paint(tone: string): void {
    if (tone === this.tone) return;
    this.tone = tone;
    this.state.className = `state ${tone}`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6" fill="${TAB_COLOURS[tone]}"/></svg>`;
    this.icon.href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  }
}

const STATE_NAMES: Readonly<Record<string, string>> = {
  ready: 'Ready',
  draining: 'Draining',
  readOnly: 'Read-only',
};
const TAB_COLOURS: Readonly<Record<string, string>> = {
  good: '#2da160',
  warn: '#d9822b',
  bad: '#d1485f',
  lost: '#7d8590',
};
/** A broker tells once a second. */
const STALE_MS = 4_000;
