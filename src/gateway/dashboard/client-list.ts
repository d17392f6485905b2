/** Who is connected, with how it stands with each of them; and how one of them is disconnected. */
import type { ClientFigures } from '../../broker/operations/snapshot.ts';
import { confirm, type Entry, type Facts, facts } from './dialogs.ts';
import { foreign, h } from './dom.ts';
import { bytes, count, duration, ms, NOTHING, percent, timeOfDay, whole } from './format.ts';
import { RemoteTable, type TableColumn } from './remote-table.ts';
import { Pace, type Page, type View } from './view.ts';

export class ClientList implements View {
  readonly name = 'clients';
  readonly title = 'Clients';
  readonly element: HTMLElement;
  private readonly page: Page;
  private readonly table: RemoteTable<ClientFigures>;
  private readonly pace = new Pace();
  private opened: { readonly id: number; readonly facts: Facts } | null = null;

  constructor(page: Page) {
    this.page = page;
    this.table = new RemoteTable<ClientFigures>({
      label: 'Clients',
      columns: COLUMNS,
      source: (query) => page.gateway.ask('clients', query),
      sort: '-queuedMessages',
      empty: 'Nobody is connected.',
      placeholder: 'Search names and addresses',
      onOpen: (client) => this.open(client),
    });
    this.element = this.table.element;
  }

  shown(): void {
    this.pace.hurry();
    this.update();
  }

  hidden(): void {}

  update(): void {
    if (!this.pace.isDue()) return;
    void this.table.refresh().then(() => this.follow());
  }

  search(): void {
    this.table.focusSearch();
  }

  key(key: string): boolean {
    const client = this.table.current;
    if ((key !== 'k' && key !== 'Delete') || client === undefined) return false;
    void this.kick(client);
    return true;
  }

  private open(client: ClientFigures): void {
    const disconnect = h('button', { type: 'button', class: 'danger' }, 'Disconnect');
    const shown = facts(nameOf(client), factsOf(client, this.table.at), disconnect);
    this.opened = { id: client.id, facts: shown };
    disconnect.addEventListener('click', () => {
      shown.dialog.close();
      void this.kick(client);
    });
  }

  /** What is shown of one client stays true as long as the table has it. */
  private follow(): void {
    if (this.opened === null) return;
    const { facts: shown, id } = this.opened;
    if (!shown.dialog.open) {
      this.opened = null;
      return;
    }
    const client = this.table.find((each) => each.id === id);
    if (client !== undefined) shown.update(factsOf(client, this.table.at));
  }

  private async kick(client: ClientFigures): Promise<void> {
    const name = nameOf(client);
    const sure = await confirm(
      `Disconnect ${name}?`,
      'Its connection is closed with the code KICKED. It may come back by itself, after a while; to keep it out, revoke its key.',
      'Disconnect',
    );
    if (!sure) return;
    try {
      const { kicked } = await this.page.gateway.order('kick', { client: client.id });
      if (kicked > 0) this.page.toast(`${name} was disconnected.`, 'good');
      else this.page.toast(`${name} had left already.`);
    } catch (error) {
      this.page.fail(error);
    }
    void this.table.refresh();
  }
}

/** What a client is called: its session, else who it is, else its number. */
function nameOf({ id, principal, session }: ClientFigures): string {
  return foreign(session ?? (principal === '' ? `client ${id}` : principal));
}

function factsOf(client: ClientFigures, now: number): Entry[] {
  const { link } = client;
  return [
    ['Connection', `${client.id}, by ${client.door}`],
    ['Who', client.principal === '' ? 'nobody in particular' : `${client.principal} (${client.kind})`],
    ['Session', client.session ?? 'none'],
    ['Address', client.address],
    ['Connected', `${duration(now - client.connectedAt)} ago, at ${timeOfDay(client.connectedAt)}`],
    ['From it', `${whole(client.messagesIn)} commands, ${count(client.rateIn)} a second`],
    ['To it', `${whole(client.messagesOut)} commands, ${count(client.rateOut)} a second`],
    ['Subscriptions', `${whole(client.subscriptions)} on ${whole(client.streams)} streams`],
    [
      'Waiting for it',
      `${whole(client.queuedMessages)} messages, ${bytes(client.queuedBytes)}; ${bytes(client.transportBytes)} on the way`,
    ],
    [
      'When its queues are full',
      client.overflow === null ? 'it has no subscriptions' : OVERFLOW[client.overflow],
    ],
    ['Publishing streams stopped', whole(client.stopped)],
    [
      'Not acknowledged',
      client.oldestUnackedAt === null
        ? whole(client.unacked)
        : `${whole(client.unacked)}, the oldest for ${duration(now - client.oldestUnackedAt)}`,
    ],
    ...(link === null
      ? []
      : ([
          ['Round trip', ms(link.rttMs)],
          [
            'Lost',
            `${percent(link.loss)} lately; ${whole(link.packetsLost)} of ${whole(link.packetsSent)} packets, ${whole(link.packetsRecovered)} brought back by repairs`,
          ],
          ['Bytes', `${bytes(link.bytesReceived)} from it, ${bytes(link.bytesSent)} to it`],
          ['Largest datagram', `${whole(link.mtu)} B`],
        ] as Entry[])),
  ];
}

const OVERFLOW = {
  block: 'publishers wait',
  dropOldest: 'the oldest message gives way',
  dropNewest: 'the newest message gives way',
  latest: 'only the newest of each topic stays',
};

const COLUMNS: readonly TableColumn<ClientFigures>[] = [
  { title: 'Name', text: (of) => nameOf(of), sort: 'principal', width: 'minmax(130px, 2fr)' },
  {
    title: 'Address',
    text: ({ address }) => foreign(address),
    sort: 'address',
    width: 'minmax(120px, 1.3fr)',
  },
  { title: 'By', text: ({ door }) => door, sort: 'door', width: '82px' },
  {
    title: 'Connected',
    text: ({ connectedAt }, at) => duration(at - connectedAt),
    sort: 'connectedAt',
    isNumber: true,
    width: '100px',
  },
  {
    title: 'In',
    text: ({ rateIn }) => `${count(rateIn)}/s`,
    sort: 'rateIn',
    largestFirst: true,
    isNumber: true,
    width: '82px',
  },
  {
    title: 'Out',
    text: ({ rateOut }) => `${count(rateOut)}/s`,
    sort: 'rateOut',
    largestFirst: true,
    isNumber: true,
    width: '82px',
  },
  {
    title: 'Waiting',
    text: ({ queuedMessages }) => count(queuedMessages),
    sort: 'queuedMessages',
    largestFirst: true,
    isNumber: true,
    width: '82px',
    tone: ({ queuedMessages, stopped }) => (stopped > 0 ? 'bad' : queuedMessages > 1_000 ? 'warn' : ''),
  },
  {
    title: 'Unacked',
    text: ({ unacked }) => count(unacked),
    isNumber: true,
    width: '82px',
  },
  {
    title: 'RTT',
    text: ({ link }) => (link === null ? NOTHING : ms(link.rttMs)),
    sort: 'rttMs',
    largestFirst: true,
    isNumber: true,
    width: '82px',
  },
  {
    title: 'Loss',
    text: ({ link }) => (link === null ? NOTHING : percent(link.loss)),
    sort: 'loss',
    largestFirst: true,
    isNumber: true,
    width: '72px',
    tone: ({ link }) => (link !== null && link.loss > 0.05 ? 'warn' : ''),
  },
  {
    title: 'Repaired',
    text: ({ link }) => (link === null ? NOTHING : count(link.packetsRecovered)),
    sort: 'packetsRecovered',
    largestFirst: true,
    isNumber: true,
    width: '82px',
  },
];
