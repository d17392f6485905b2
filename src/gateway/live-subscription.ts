/** A subscription as its WebSocket client is told of it: what comes on it becomes messages that name it. [GW-51] */

import type { JspError } from '../base/errors.ts';
import { type CommandReader, ReasonCode, reasonCodeName } from '../pubsub/command.ts';
import type { DeliveryTexts } from './delivery-text.ts';
import type { Name } from './members.ts';
import type { Begun, CallerSubscription, GapReason, SubscriptionSink } from './subscription.ts';

/** What it needs of the conversation that it is part of. */
export interface SubscriptionHost {
  readonly texts: DeliveryTexts;
  sendFrame(frame: Buffer): void;
  tell(message: object): void;
  /** The same, of a text of JSON. */
  tellText(message: string): void;
  refuse(id: Name | null, code: string, message: string, more?: object): void;
  /** The broker reads on. */
  onDrained(): void;
  /** It is over. */
  forget(sub: Name): void;
}

export class LiveSubscription implements SubscriptionSink {
  readonly name: Name;
  subscription: CallerSubscription | undefined;
  private readonly conversation: SubscriptionHost;
  private readonly id: Name | null;

  constructor(conversation: SubscriptionHost, name: Name, id: Name | null) {
    this.conversation = conversation;
    this.name = name;
    this.id = id;
  }

  onSubscribed(begun: Begun | null): void {
    const of = `"id":${JSON.stringify(this.id)},"sub":${JSON.stringify(this.name)}`;
    if (begun === null) return this.conversation.tellText(`{"type":"subscribed",${of}}`);
    const { epoch, offset, head, recovered, missed } = begun;
    // Put together here, as the welcome is.
    this.conversation.tellText(
      `{"type":"subscribed",${of},"epoch":${epoch},"offset":${offset},"head":${head},"recovered":${recovered},"missed":${missed}}`,
    );
  }

  onRefused(error: JspError, filter: string): void {
    const { name: sub, id } = this;
    this.conversation.forget(sub);
    const { applicationCode = ReasonCode.INTERNAL_ERROR, reason = '', message } = error;
    this.conversation.refuse(id, reasonCodeName(applicationCode), reason || message, { sub, filter });
  }

  onDelivery(command: Buffer, parts: CommandReader, offset: number): void {
    const frame = this.conversation.texts.frame(command, parts, offset, this.name);
    if (frame === null) this.onGap(1, 'compressed');
    else this.conversation.sendFrame(frame);
  }

  onPosition(epoch: number, offset: number): void {
    this.conversation.tell({ type: 'position', sub: this.name, epoch, offset });
  }

  onGap(missed: number | null, reason: GapReason): void {
    this.conversation.tell({ type: 'gap', sub: this.name, missed, reason });
  }

  onDrained(): void {
    this.conversation.onDrained();
  }

  onEnded(error: JspError): void {
    const { name: sub } = this;
    this.conversation.forget(sub);
    const { applicationCode = ReasonCode.INTERNAL_ERROR, message } = error;
    this.conversation.tell({ type: 'ended', sub, code: reasonCodeName(applicationCode), message });
  }
}
