/**
 * The dashboard: one page that shows a broker as it is now and as it was for the last 15 minutes. It asks the gateway that it came from, and no other host.
 *
 * 1. `start` asks for the state and the history; a broker that asks who we are gets a login before.
 * 2. A stream brings a snapshot each second, and what happens in between; each goes into the timeline and to the view that is seen.
 * 3. When the stream breaks the page says so and shows what it had; when it is back, the history fills the gap.
 * 4. A tab that nobody looks at lets go of the stream after a while, and takes it up again when somebody does.
 */
import type { EventRecord, Snapshot, StatusReport } from '../../broker/operations/snapshot.ts';
import { showBroker } from './broker-facts.ts';
import { ClientList } from './client-list.ts';
import { foreign, h, part, show } from './dom.ts';
import { EventList } from './event-list.ts';
import type { ServerEvent } from './event-stream.ts';
import { Gateway, Problem } from './gateway.ts';
import { type Key, listenForKeys, showKeys } from './keyboard.ts';
import { type LiveState, LiveStream } from './live.ts';
import { askForCredential } from './login.ts';
import { jsonOf, messageOf } from './message.ts';
import { Messages } from './messages.ts';
import { Overview } from './overview.ts';
import { StatusLine } from './status-line.ts';
import { Storage } from './storage.ts';
import { SubscriptionList } from './subscription-list.ts';
import { Theme } from './theme.ts';
import { Timeline } from './timeline.ts';
import { TopicList } from './topic-list.ts';
import type { Page, View } from './view.ts';

/** Whoever looks: nothing is known of the broker yet, he is asked who he is, he may see everything, or messages and no figures. */
type Standing = 'unknown' | 'asked' | 'known' | 'messagesOnly';

/** What the broker remembers: to be asked for, because there was a time of which nothing was heard; on its way; told. */
type Past = 'lacking' | 'loading' | 'there';

class Dashboard implements Page {
  readonly gateway = new Gateway();
  readonly timeline = new Timeline();
  readonly events: EventRecord[] = [];
  snapshot: Snapshot | null = null;
  status: StatusReport | null = null;
  spanSeconds = 900;
  private readonly statusLine = new StatusLine(() => this.hurry());
  private readonly views: readonly View[];
  private readonly tabs: HTMLAnchorElement[];
  private view: View;
  private stream: LiveStream | null = null;
  private live: LiveState = { name: 'connecting' };
  private sleep = 0;
  private standing: Standing = 'unknown';
  private past: Past = 'lacking';
  private frame = 0;

  constructor() {
    this.views = [
      new Overview(this),
      new ClientList(this),
      new SubscriptionList(this),
      new TopicList(this),
      new Messages(this),
      new Storage(this),
      new EventList(this),
    ];
    this.view = this.views[0];
    this.tabs = this.views.map(({ name, title }) => h('a', { href: `#${name}` }, title));
    part('tabs').append(...this.tabs);
  }

  get isKnown(): boolean {
    return this.standing === 'known';
  }

  run(): void {
    const theme = new Theme(part('theme'), () => {
      for (const view of this.views) view.recolour?.();
    });
    const span = part<HTMLSelectElement>('span');
    span.addEventListener('change', () => {
      this.spanSeconds = Number(span.value);
      this.refresh();
    });
    part('account').addEventListener('click', () => {
      this.gateway.authorize(null);
      location.reload();
    });
    const keys: Key[] = [
      ...this.views.map(({ name, title }, i) => ({
        key: String(i + 1),
        what: title,
        act: () => {
          location.hash = name;
        },
      })),
      { key: '/', what: 'search', act: () => this.view.search?.() },
      { key: 'i', what: 'what is known of the broker', act: () => showBroker(this.status, this.snapshot) },
      { key: 't', what: 'light, dark, or as the system has it', act: () => theme.next() },
      { key: '?', what: 'this list', act: () => showKeys(keys) },
    ];
    listenForKeys(keys, (key) => this.view.key?.(key) ?? false);
    part('state').addEventListener('click', () => showBroker(this.status, this.snapshot));
    part('help').addEventListener('click', () => showKeys(keys));
    addEventListener('hashchange', () => this.follow());
    document.addEventListener('visibilitychange', () => this.onVisibility());
    this.follow();
    setInterval(() => {
      this.statusLine.tick(this.live);
      if (this.past === 'lacking' && this.live.name === 'open' && this.standing !== 'asked') void this.load();
      this.refresh();
    }, TICK_MS);
    void this.start();
  }

  toast(text: string, tone: 'good' | 'bad' | '' = ''): void {
    const toast = h('p', { class: tone }, text);
    part('toasts').append(toast);
    setTimeout(() => toast.remove(), TOAST_MS);
  }

  fail(error: unknown): void {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) void this.login(error);
    else this.toast(foreign(error.message), 'bad');
  }

  /** Shows the view that the address names. */
  private follow(): void {
    const name = location.hash.slice(1);
    const view = this.views.find((each) => each.name === name) ?? this.views[0];
    const holder = part('view');
    if (holder.firstElementChild === view.element) return;
    if (holder.firstElementChild !== null) this.view.hidden();
    this.view = view;
    holder.replaceChildren(view.element);
    this.views.forEach((each, i) => {
      if (each === view) {
        this.tabs[i].setAttribute('aria-current', 'page');
        this.tabs[i].scrollIntoView({ block: 'nearest', inline: 'nearest' });
      } else this.tabs[i].removeAttribute('aria-current');
    });
    if (this.isKnown) view.shown();
  }

  /** What is seen follows what is known, with the next picture; messages can be seen without the figures. */
  private refresh(): void {
    if (this.frame !== 0 || document.hidden) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.isKnown || this.view instanceof Messages) this.view.update();
    });
  }

  private async start(): Promise<void> {
    const problem = await this.load();
    if (problem === null || problem.status === 0 || problem.status >= 500) this.listen();
    else if (problem.status === 401 || problem.status === 403) await this.login(problem);
    else this.listen();
  }

  /** What changes seldom, and the past; a broker that has too much to do is asked again. Null when it was told. */
  private async load(): Promise<Problem | null> {
    if (this.past === 'loading') return null;
    this.past = 'loading';
    let outcome: Past = 'lacking';
    try {
      const problem = await this.askForPast();
      if (problem === null) outcome = 'there';
      return problem;
    } finally {
      this.past = outcome;
    }
  }

  private async askForPast(): Promise<Problem | null> {
    try {
      // Alone, so that whoever may not is refused once.
      this.status = await this.gateway.ask('status', {});
      const [history, { items }, now] = await Promise.all([
        this.gateway.ask('history', {}),
        this.gateway.ask('events', { limit: EVENTS_KEPT }),
        this.gateway.ask('metrics', {}),
      ]);
      this.timeline.merge(history);
      this.mergeEvents(items);
      if (this.snapshot?.startedAt !== now.startedAt || now.at > this.snapshot.at) this.takeSnapshot(now);
      part('account').hidden = !this.gateway.hasCredential;
      if (this.standing !== 'asked') this.enter();
      return null;
    } catch (error) {
      if (error instanceof Problem) return error;
      throw error;
    }
  }

  /** The broker has told of itself. */
  private enter(): void {
    if (this.isKnown) {
      this.refresh();
      return;
    }
    this.standing = 'known';
    this.view.shown();
  }

  private async login(problem: Problem): Promise<void> {
    if (this.standing === 'asked') return;
    this.standing = 'asked';
    this.stream?.close();
    const login = await askForCredential(problem, (credential) => {
      this.gateway.authorize(credential);
      return this.load();
    });
    part('account').hidden = !this.gateway.hasCredential;
    if (login === 'operator') {
      this.enter();
      this.listen();
      return;
    }
    this.standing = 'messagesOnly';
    show(part('state-name'), 'Messages only');
    location.hash = 'messages';
  }

  private listen(): void {
    this.stream?.close();
    let wasOpen = false;
    this.stream = new LiveStream(this.gateway, [FEED, EVENTS], {
      onEvent: (event) => this.take(event),
      onState: (state) => {
        this.live = state;
        this.statusLine.tick(state);
        if (state.name === 'open') {
          // What was missed meanwhile, and who it is now: it may be another process.
          if (wasOpen || this.status === null) void this.load();
          wasOpen = true;
        } else if (
          state.name === 'refused' &&
          (state.problem.status === 401 || state.problem.status === 403)
        ) {
          void this.login(state.problem);
        }
      },
    });
  }

  private take(event: ServerEvent): void {
    if (event.event !== 'message') return;
    const message = messageOf(event);
    if (message?.topic === EVENTS) this.takeEvent(jsonOf(message) as EventRecord);
    else if (message?.topic === FEED) this.takeSnapshot(jsonOf(message) as Snapshot);
  }

  private takeSnapshot(snapshot: Snapshot): void {
    const before = this.snapshot;
    this.snapshot = snapshot;
    this.timeline.push(snapshot);
    if (before !== null && before.state !== snapshot.state) void this.refreshStatus();
    this.statusLine.heard(snapshot, this.timeline, this.status);
    this.statusLine.tick(this.live);
    this.countTabs(snapshot);
    this.refresh();
  }

  private async refreshStatus(): Promise<void> {
    this.status = await this.gateway.ask('status', {}).catch(() => this.status);
  }

  private countTabs(snapshot: Snapshot): void {
    const counts: Readonly<Record<string, number>> = {
      clients: snapshot.clients,
      subscriptions: snapshot.durables,
      storage: snapshot.logs.length,
    };
    this.views.forEach(({ name, title }, i) => {
      const figure = counts[name];
      show(
        this.tabs[i],
        figure === undefined || figure === 0 ? title : `${title} ${figure.toLocaleString('en-US')}`,
      );
    });
  }

  /** What has just happened, unless it was told with the past already. */
  private takeEvent(event: EventRecord): void {
    const last = this.events[this.events.length - 1];
    if (last !== undefined && event.number <= last.number && event.at <= last.at) return;
    this.events.push(event);
    if (this.events.length > EVENTS_KEPT) this.events.shift();
  }

  /** Takes the past in place of what was known of the same time; what is older may be of a broker before. */
  private mergeEvents(past: readonly EventRecord[]): void {
    const [first] = past;
    const last = past[past.length - 1];
    if (first === undefined) return;
    const older = this.events.filter(({ at }) => at < first.at);
    const newer = this.events.filter(({ at, number }) => number > last.number && at >= last.at);
    const all = [...older, ...past, ...newer];
    this.events.splice(0, this.events.length, ...all.slice(-EVENTS_KEPT));
  }

  private hurry(): void {
    if (this.live.name === 'refused' || this.live.name === 'closed') this.listen();
    else this.stream?.hurry();
  }

  private onVisibility(): void {
    if (this.standing === 'messagesOnly') return;
    clearTimeout(this.sleep);
    if (document.hidden) {
      this.sleep = window.setTimeout(() => this.stream?.close(), SLEEP_MS);
      return;
    }
    if (this.live.name === 'closed' && this.standing !== 'asked') {
      if (this.past === 'there') this.past = 'lacking';
      this.listen();
    } else this.stream?.hurry();
    this.refresh();
  }
}

const FEED = '$sys/feed';
const EVENTS = '$sys/events';
const TICK_MS = 1_000;
const TOAST_MS = 6_000;
const SLEEP_MS = 60_000;
/** As many as the broker keeps. */
const EVENTS_KEPT = 1_000;

new Dashboard().run();
