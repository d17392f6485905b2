import { WindowController } from './loss-based.ts';

/** NewReno as RFC 9002 section 7 describes it, with HyStart++ and undo of spurious losses. */
export class NewReno extends WindowController {
  readonly name = 'newreno';

  onSent(): void {}

  protected avoidCongestion(bytes: number): void {
    // [REC-26] One packet a window of acknowledged bytes.
    this.window += (this.mtu * bytes) / this.window;
  }

  protected reduce(): void {
    this.window /= 2;
  }
}
